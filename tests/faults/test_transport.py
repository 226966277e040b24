"""The transports: no operation outlives the deadline."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import pytest

from tests.faults import server as faults
from tests.faults.cases import TEXTS, score
from tests.faults.server import FaultServer, authority, fault_server
from vecdb_rerank import ConfigurationError, Deadline, HttpReranker, RerankTimeoutError
from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.http.client_pool import ClientPool
from vecdb_rerank.http.proxies import proxy_of
from vecdb_rerank.http.time_limit import until

LATE = ["hang before headers", "drip", "headers, then stall"]
Plain = ClientPool[httpx.Client, httpx.AsyncClient]


def clients(**options: Any) -> Plain:
    return ClientPool(lambda client: client, lambda client: client, **options)


def lateness(call: Callable[[], Any], seconds: float = 0.3, times: int = 5) -> list[float]:
    """How much later than its deadline each of some calls came back, all of them too late."""
    late = []
    for _ in range(times):
        deadline = Deadline.after(seconds)
        with until(deadline), pytest.raises(httpx.TimeoutException):
            call()
        late.append(time.monotonic() - deadline.ends_at)
    return late


@pytest.mark.timing
@pytest.mark.parametrize("fault", LATE)
def test_a_synchronous_call_ends_with_its_deadline(fault: str) -> None:
    one = clients()
    with fault_server(fault) as server:
        late = lateness(lambda: one.sync().post(server.url, json={"documents": TEXTS}))
    one.close()
    assert statistics.median(late) < 0.05
    assert max(late) < 0.3


@pytest.mark.timing
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("fault", LATE)
def test_an_asynchronous_call_ends_with_its_deadline(fault: str, http2: bool) -> None:
    late = []
    with fault_server(fault) as server:
        one = HttpReranker(server.url, format="tei", retries=0, http2=http2)
        for _ in range(3):
            deadline = Deadline.after(0.3)
            with pytest.raises(RerankTimeoutError):
                asyncio.run(run_async(one.steps("q", TEXTS, deadline=deadline)))
            late.append(time.monotonic() - deadline.ends_at)
    assert min(late) < 0.05
    assert max(late) < 0.3


@pytest.mark.timing
def test_waiting_for_a_connection_ends_with_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vecdb_rerank.http import transport

    monkeypatch.setitem(transport._POOL, "max_connections", 1)
    one = clients()
    with fault_server("hang before headers") as server:
        url = server.url

        def hold() -> None:
            with until(Deadline.after(2)), pytest.raises(httpx.TimeoutException):
                one.sync().post(url, json={"texts": TEXTS})

        holder = threading.Thread(target=hold)
        holder.start()
        time.sleep(0.1)
        late = lateness(lambda: one.sync().post(url, json={"texts": TEXTS}), times=2)
        holder.join()
    one.close()
    assert max(late) < 0.3


@pytest.fixture
def sipping() -> Iterator[str]:
    """The address of a server that takes seconds to read 30 MB, a little at a time."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def sip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not stopping.wait(0.01):
                connection.recv(200_000)

    threading.Thread(target=sip, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stopping.set()
    listener.close()


@pytest.mark.timing
@pytest.mark.timeout(10)  # else a server decides how long a regression hangs
def test_sending_to_a_server_that_reads_slowly_ends_with_the_deadline(sipping: str) -> None:
    one = clients()
    late = lateness(lambda: one.sync().post(sipping, content=b"x" * 30_000_000), times=1)
    one.close()
    assert max(late) < 0.3


@pytest.mark.timing
def test_a_tls_handshake_that_hangs_ends_with_the_deadline() -> None:
    one = clients()
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        late = lateness(lambda: one.sync().get(url), times=2)
    one.close()
    assert max(late) < 0.3


@pytest.mark.timing
def test_looking_up_a_name_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: waiting.wait(10))
    one = clients()
    late = lateness(lambda: one.sync().get("http://no-such-host.invalid"), times=2)
    waiting.set()
    assert max(late) < 0.3


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server("ok") as server:
        port = int(server.url.rpartition(":")[2])
        found = [(2, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        one = clients()
        with until(Deadline.after(5)):
            answer = one.sync().post(f"http://somewhere.invalid:{port}", json={"texts": TEXTS})
        one.close()
    assert answer.status_code == 200


@pytest.fixture
def tunnel(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that records its requests, and connects to the port on this machine."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                target.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                asked.append(head := client.recv(65536).decode())
                port = int(head.split()[1].rpartition(":")[2])
                server = socket.create_connection(("127.0.0.1", port))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:p@127.0.0.1:{listener.getsockname()[1]}")
    yield asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.timing
@pytest.mark.parametrize("api", ["sync", "async"])
@pytest.mark.parametrize("fault", ["tls, unknown authority", "tls, drip"])
def test_the_proxy_of_the_environment_is_used_and_keeps_the_deadline(
    fault: str, api: str, tunnel: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(file)
    monkeypatch.setitem(faults.BEHAVIOURS, "tls, drip", faults.BEHAVIOURS["drip"])
    with fault_server(fault) as server:
        url = server.url.replace("127.0.0.1", "rerank.test")
        one = HttpReranker(url, format="tei", verify=str(file))
        started = time.monotonic()
        if "drip" in fault:
            with pytest.raises(RerankTimeoutError):
                score(one, TEXTS, api, 0.4)
            assert time.monotonic() - started < 0.7
        else:
            assert None not in score(one, TEXTS, api).raw
    assert len(server.requests) == 1
    assert tunnel[0].startswith("CONNECT rerank.test:")
    assert "basic dtpw" in tunnel[0].lower()


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("https://h", {"HTTPS_PROXY": "http://p:3128"}, b"http://p:3128/"),
        ("https://h", {"https_proxy": "p:3128"}, b"http://p:3128/"),
        ("https://h", {"ALL_PROXY": "http://p"}, b"http://p/"),
        ("http://h", {"HTTPS_PROXY": "http://p"}, None),
        ("https://h.inside", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".inside"}, None),
        ("https://127.0.0.1", {"HTTPS_PROXY": "http://p"}, None),
        ("https://localhost", {"HTTPS_PROXY": "http://p"}, None),
        ("https://h", {}, None),
    ],
)
def test_which_proxy(
    url: str, variables: dict[str, str], proxy: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_of(httpx.URL(url))
    assert (bytes(found.url) if found else None) == proxy


@pytest.mark.parametrize("scheme", ["socks4", "https", "ftp"])
def test_a_proxy_of_an_unsupported_scheme_is_named(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:password@p")
    with pytest.raises(ConfigurationError, match=scheme) as caught:
        proxy_of(httpx.URL("https://h"))
    assert caught.value.key == "HTTPS_PROXY"
    assert "password" not in str(caught.value)


def test_a_socks_proxy_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as if it is not installed
    monkeypatch.setenv("ALL_PROXY", "socks5://user:password@p")
    with pytest.raises(ConfigurationError, match=r"httpx\[socks\]") as caught:
        proxy_of(httpx.URL("https://h"))
    assert caught.value.key == "ALL_PROXY"
    assert "password" not in str(caught.value)


@pytest.fixture
def socks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A SOCKS5 proxy (RFC 1928) that records host names, and connects to this machine."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                target.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.recv(100)
                client.sendall(b"\5\0")
                request = client.recv(300)
                asked.append(request[5 : 5 + request[4]])
                port = int.from_bytes(request[-2:])
                server = socket.create_connection(("127.0.0.1", port))
                client.sendall(b"\5\0\0\1" + bytes(6))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{listener.getsockname()[1]}")
    yield asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.timing
@pytest.mark.parametrize("api", ["sync", "async"])
@pytest.mark.parametrize("fault", ["ok", "drip"])
def test_a_socks_proxy_is_used_and_keeps_the_deadline(
    fault: str, api: str, socks: list[bytes]
) -> None:
    with fault_server(fault) as server:
        one = HttpReranker(server.url.replace("127.0.0.1", "rerank.test"), format="tei")
        started = time.monotonic()
        if fault == "drip":
            with pytest.raises(RerankTimeoutError):
                score(one, TEXTS, api, 0.4)
            assert time.monotonic() - started < 0.7
        else:
            assert None not in score(one, TEXTS, api).raw
    assert socks == [b"rerank.test"]


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_certificate_of_an_authority_that_is_trusted_is_accepted(api: str, tmp_path: Any) -> None:
    file = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(file)
    with fault_server("tls, unknown authority") as server:
        one = HttpReranker(server.url, format="tei", verify=str(file))
        scores = score(one, TEXTS, api)
    assert None not in scores.raw


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_connections_of_its_own() -> None:
    one = clients()
    with fault_server("ok") as server:
        assert one.sync().post(server.url, json={"texts": TEXTS}).status_code == 200
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if one.sync().post(server.url, json={"texts": TEXTS}).is_success else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert one.sync().post(server.url, json={"texts": TEXTS}).status_code == 200
        one.close()
    assert (server.connections, len(server.requests)) == (2, 3)


def test_threads_share_the_pool() -> None:
    one = clients()
    with fault_server("ok") as server:
        threads = [
            threading.Thread(target=lambda: one.sync().post(server.url, json={"texts": TEXTS}))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one.close()
    assert len(server.requests) == 8


def test_clients_of_ended_loops_are_not_kept() -> None:
    one = clients()

    async def post(url: str) -> int:
        client = await one.of_loop()
        return (await client.post(url, json={"texts": TEXTS})).status_code

    with fault_server("ok") as server:
        assert [asyncio.run(post(server.url)) for _ in range(3)] == [200] * 3
    assert one._loops == {}


@pytest.mark.timing
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("ends", ["deadline", "cancelled", "both"])
@pytest.mark.parametrize("fault", [*LATE, "slow"])
def test_connections_of_calls_that_were_given_up_are_not_lost(
    fault: str, ends: str, http2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecdb_rerank.http import transport

    monkeypatch.setitem(transport._POOL, "max_connections", 5)

    async def main(server: FaultServer) -> httpx.Response:
        one = clients(http2=http2)
        client = await one.of_loop()

        async def post() -> httpx.Response:
            return await client.post(server.url, json={"documents": TEXTS})

        async def give_up() -> None:
            seconds = 0.02 if ends != "cancelled" else 30.0
            with until(Deadline.after(seconds)), suppress(httpx.TimeoutException, TimeoutError):
                await asyncio.wait_for(post(), 0.02 if ends != "deadline" else None)

        for _ in range(6):
            await asyncio.gather(*(give_up() for _ in range(5)))
        server.behaviour = "ok"
        with until(Deadline.after(5.0)):
            answer = await post()
        await one.aclose()
        return answer

    with fault_server(fault) as server:
        assert asyncio.run(main(server)).status_code == 200
