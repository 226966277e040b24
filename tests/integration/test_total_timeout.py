"""Clients that `connect` makes, against servers that never finish an answer."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from vecdb_rerank import connect, connect_async
from vecdb_rerank.errors import FirstPassTimeoutError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
DRIPS = {
    "body": (HEAD, b" "),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n"),
    "status": (b"HTTP/1.1 200 O", b"K"),
    "silence": (b"", b""),
}


@contextmanager
def dripping(first: bytes, again: bytes) -> Iterator[int]:
    """A server that answers with ``first`` and then with ``again`` ten times a second."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(first)
            while not over.wait(0.1):
                connection.sendall(again)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.close()


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize(
    ("timeout", "deadline", "names"),
    [(1.0, 30.0, "backend.timeout"), (30.0, 0.5, "deadline"), (1.0, None, "backend.timeout")],
)
def test_the_smaller_of_two_limits_ends_a_search(
    drip: str, kind: str, use_async: bool, timeout: float, deadline: float | None, names: str
) -> None:
    """The error names which of the two it was."""

    async def search(port: int) -> None:
        connector: Any = (connect_async if use_async else connect)(
            backend={"type": kind, "url": f"http://127.0.0.1:{port}", "timeout": timeout},
            policy={"deadline": deadline},
            reranker={"type": "none"},
            embedder={"type": "none"},
        )
        try:
            found = connector.search("any", query_vector=[0.5, 0.5])
            if inspect.isawaitable(found):
                await found
        finally:
            closed = connector.close()
            if inspect.isawaitable(closed):
                await closed

    started = time.monotonic()
    with dripping(*DRIPS[drip]) as port, pytest.raises(FirstPassTimeoutError, match=names):
        asyncio.run(search(port))
    assert time.monotonic() - started < 5.0  # far below the larger limit
