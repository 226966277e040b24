"""A database that takes connections and never answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.contract.backends import OPENSEARCH
from tests.integration.clients import opensearch, qdrant
from vecdb_rerank.errors import FirstPassTimeoutError
from vecdb_rerank.policy import Policy
from vecdb_rerank.testing.base import one_line
from vecdb_rerank.testing.searching import WIDE, every_mode

DEADLINE = 1.0
POLICY = Policy(deadline=DEADLINE)


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A server that accepts, reads nothing and sends nothing."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in accepted:
        connection.close()


@every_mode
@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("name", OPENSEARCH)
def test_opensearch(name: str, mode: str, explain: bool, silent_port: int) -> None:
    url = f"http://127.0.0.1:{silent_port}"
    with opensearch(name, url, "docs", policy=POLICY) as (connector, call):
        started = time.monotonic()
        with pytest.raises(FirstPassTimeoutError) as caught:
            call(connector.search(WIDE, mode=mode, explain=explain))
        assert time.monotonic() - started < DEADLINE + 1
        assert one_line(caught.value)


@every_mode
@pytest.mark.parametrize("name", ["qdrant-rest-async", "qdrant-grpc", "qdrant-grpc-async"])
def test_qdrant(name: str, mode: str, silent_port: int) -> None:
    url = f"http://127.0.0.1:{silent_port}"
    with qdrant(name, url, "docs", policy=POLICY, grpc_port=silent_port) as (connector, call):
        started = time.monotonic()
        with pytest.raises(FirstPassTimeoutError) as caught:
            call(connector.search(WIDE, mode=mode))
        assert time.monotonic() - started < DEADLINE + 1
        assert one_line(caught.value)


def test_qdrant_with_a_timeout_of_its_own(silent_port: int) -> None:
    """A synchronous REST client keeps only the timeout that it was made with."""
    url, timeout = f"http://127.0.0.1:{silent_port}", 2
    with qdrant("qdrant-rest", url, "docs", policy=POLICY, timeout=timeout) as (connector, call):
        started = time.monotonic()
        with pytest.raises(FirstPassTimeoutError) as caught:
            call(connector.search(WIDE))
        assert time.monotonic() - started < timeout + 1
        assert one_line(caught.value)
