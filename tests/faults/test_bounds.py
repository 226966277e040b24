"""What a server sends is bounded, and never taken for the answer to another request."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard

from tests.faults import server as faults
from tests.faults.cases import APIS, CLIENTS, COUNT, SECRET, TEXTS, score
from tests.faults.server import Connection, FaultServer, Json, fault_server
from vecdb_rerank import ConfigurationError, Deadline, HttpReranker, RerankError
from vecdb_rerank.flow.drivers import run, run_async

both_apis = pytest.mark.parametrize("api", APIS)
every_client = pytest.mark.parametrize("client", CLIENTS)
Behave = Callable[[FaultServer, Connection, Json], None]


@pytest.fixture
def behaving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Behave], Any]:
    def serve(behave: Behave) -> Any:
        monkeypatch.setitem(faults.BEHAVIOURS, "own", behave)
        return fault_server("own")

    return serve


def encoded(encoding: str, encode: Callable[[bytes], bytes]) -> Behave:
    def behave(_: FaultServer, connection: Connection, body: Json) -> None:
        headers = f"Content-Encoding: {encoding}\r\n"
        faults._send(connection, encode(faults._answer(body)), headers=headers)

    return behave


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": gzip.compress,
}


@both_apis
@pytest.mark.parametrize("encoding", [*ENCODERS, "raw deflate", "identity"])
def test_compressed_answers_are_read(encoding: str, api: str, behaving: Any) -> None:
    encode = raw_deflate if "raw" in encoding else ENCODERS.get(encoding, bytes)
    with behaving(encoded(encoding.removeprefix("raw "), encode)) as server:
        assert None not in score(HttpReranker(server.url, model="m"), api=api).raw
        head = server.heads[0].lower()
    assert head.endswith("accept-encoding: gzip, deflate")


SPACES = b" " * 200_000_000
BOMBS = {
    "gzip": gzip.compress(SPACES, 1),
    "deflate": zlib.compress(SPACES, 1),
    "zstd": zstandard.compress(SPACES, 1),
    "br": b"\x5b\xff\xff\xaf\x02\xc0\x22\x79" * 20_000,
    "gzip, gzip": gzip.compress(gzip.compress(SPACES, 1)),
}
del SPACES


@both_apis
@every_client
@pytest.mark.parametrize("encoding", BOMBS)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_a_bomb_is_refused_early(
    status: str, encoding: str, client: str, api: str, behaving: Any
) -> None:
    def behave(_: FaultServer, connection: Connection, _body: Json) -> None:
        headers = f"Content-Encoding: {encoding}\r\n"
        faults._send(connection, BOMBS[encoding], status, headers)

    with behaving(behave) as server:
        one = CLIENTS[client](server.url, api_key=SECRET, retries=0)
        started = time.process_time()
        with pytest.raises(RerankError, match=r"larger than|unexpected encoding|not valid"):
            score(one, api=api)
        assert time.process_time() - started < 1.0


@both_apis
@every_client
def test_a_response_above_the_limit_names_the_setting(client: str, api: str) -> None:
    with fault_server("ok") as server:
        one = CLIENTS[client](server.url, api_key=SECRET, retries=0, max_response_bytes=50)
        with pytest.raises(RerankError, match="max_response_bytes"):
            score(one, api=api)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker("http://h", model="m", max_response_bytes=0)
    assert caught.value.key == "max_response_bytes"


@pytest.mark.timing
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_a_long_error_message_holds_up_no_event_loop(status: str, behaving: Any) -> None:
    message = json.dumps({"error": {"message": "no word of it is yours " * 40_000}}).encode()
    documents = ["some words of a document and others " * 900] * 50

    def behave(_: FaultServer, connection: Connection, _body: Json) -> None:
        faults._send(connection, message, status)

    async def main(url: str) -> float:
        one = HttpReranker(url, model="m", retries=0)
        steps = one.steps("q", documents, deadline=Deadline.after(5))
        task = asyncio.ensure_future(run_async(steps))
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        with pytest.raises(RerankError, match="no word of it"):
            task.result()
        await run_async(one.closing())
        return longest

    with behaving(behave) as server:
        assert asyncio.run(main(server.url)) < 0.5


@pytest.fixture
def one_too_many(behaving: Any) -> Iterator[FaultServer]:
    """A server that sends one response more than it is asked for, first thing."""

    def behave(server: FaultServer, connection: Connection, body: Json) -> None:
        if len(server.requests) == 1:
            extra: list[Json] = [{"index": n, "relevance_score": 0.5} for n in range(COUNT)]
            whole: list[bytes] = []

            class Kept:
                def sendall(self, data: bytes) -> None:
                    whole.append(data)

            kept: Any = Kept()
            faults._ok(server, kept, body)
            faults._send(kept, faults._answer(body, extra))
            connection.sendall(b"".join(whole))
        else:
            faults._ok(server, connection, body)

    with behaving(behave) as server:
        yield server


@both_apis
@pytest.mark.parametrize("client", [name for name in CLIENTS if "tei" not in name])
def test_a_response_too_many_is_nobodys_answer(
    client: str, api: str, one_too_many: FaultServer
) -> None:
    one = CLIENTS[client](one_too_many.url, api_key=SECRET)

    async def twice() -> list[Any]:
        found = [await run_async(one.steps("q", TEXTS, deadline=Deadline.after(5))) for _ in "12"]
        await run_async(one.closing())
        return found

    if api == "async":
        first, second = asyncio.run(twice())
    else:
        first, second = [one.score("q", TEXTS, deadline=Deadline.after(5)) for _ in "12"]
        run(one.closing())
    assert first.raw == second.raw
    assert one_too_many.connections == 2


def test_a_chunked_response_keeps_its_connection_unless_more_follows(behaving: Any) -> None:
    def behave(server: FaultServer, connection: Connection, body: Json) -> None:
        content = faults._answer(body)
        chunks = b"".join(b"%x\r\n%s\r\n" % (1, content[n : n + 1]) for n in range(len(content)))
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        more = b"HTTP/1.1 200 OK\r\n" if len(server.requests) == 2 else b""
        connection.sendall(head + chunks + b"0\r\n\r\n" + more)

    with behaving(behave) as server:
        one = HttpReranker(server.url, model="m")
        connections = []
        for _ in range(3):
            assert None not in one.score("q", TEXTS, deadline=Deadline.after(5)).raw
            connections.append(server.connections)
        run(one.closing())
    assert connections == [1, 1, 2]


def test_a_response_of_another_size_ends_its_connection(behaving: Any) -> None:
    def behave(server: FaultServer, connection: Connection, body: Json) -> None:
        faults.BEHAVIOURS["too few results" if len(server.requests) == 1 else "ok"](
            server, connection, body
        )

    with behaving(behave) as server:
        one = HttpReranker(server.url, model="m")
        with pytest.raises(RerankError):
            one.score("q", TEXTS, deadline=Deadline.after(5))
        assert None not in one.score("q", TEXTS, deadline=Deadline.after(5)).raw
        run(one.closing())
    assert server.connections == 2


@both_apis
@every_client
def test_cookies_are_neither_kept_nor_sent(client: str, api: str, behaving: Any) -> None:
    def behave(_: FaultServer, connection: Connection, body: Json) -> None:
        headers = "Set-Cookie: session=1; Path=/; Max-Age=1000\r\n"
        faults._send(connection, faults._answer(body), headers=headers)

    with behaving(behave) as server:
        one = CLIENTS[client](server.url, api_key=SECRET, batch_size=1)
        score(one, api=api)
    assert len(server.heads) == COUNT
    assert "cookie" not in "".join(server.heads).lower()
