"""A real HTTP server on loopback that misbehaves on demand.

``python -m tests.faults.server`` is one that fails at random: it prints its address, runs until
its input ends, and prints how often it did what.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import TypeVar

import trustme

Connection = socket.socket
Json = dict[str, object]
SCORE_KEYS = ("score", "relevance_score", "logit")
UNITS, TOKENS = 3, 321  # billed for every answer
Behaviour = Callable[["FaultServer", Connection, Json], None]


@dataclass
class FaultServer:
    """Answers every request by its behaviour; counts connections and requests."""

    behaviour: str
    url: str = ""
    connections: int = 0
    requests: list[Json] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: Connection) -> None:
        """Requests and answers, until one side has enough."""
        self.connections += 1
        with suppress(OSError), connection, self._secured(connection) as secured:
            secured.settimeout(10)
            while (request := _read(secured)) is not None:
                self.answer(secured, *request)

    def answer(self, connection: Connection, head: str, body: Json) -> None:
        """Keep the request and act by the behaviour."""
        self.heads.append(head)
        self.requests.append(body)
        BEHAVIOURS[self.behaviour](self, connection, body)

    def _secured(self, connection: Connection) -> Connection:
        if not self.behaviour.startswith("tls"):
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert("127.0.0.1", "rerank.test").configure_cert(context)
        return context.wrap_socket(connection, server_side=True)


@dataclass
class RandomServer(FaultServer):
    """Meets a share of the requests with a random fault, and the others after a while.

    A healthy answer takes ``delay`` seconds, more or less by at most ``jitter``. What was done is
    counted by name; requests are not kept, so that this may go on for hours.
    """

    behaviour: str = "random"
    faults: float = 0.3
    delay: float = 0.2
    jitter: float = 0.1
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, connection: Connection, head: str, body: Json) -> None:
        """Fail, or take the time that a model would and be right."""
        chosen = random.choice(RANDOM_FAULTS) if random.random() < self.faults else "ok"
        with self.lock:
            self.done[chosen] += 1
        if chosen == "ok":
            time.sleep(max(0.0, random.uniform(self.delay - self.jitter, self.delay + self.jitter)))
        BEHAVIOURS[chosen](self, connection, body)


@cache
def authority() -> trustme.CA:
    """Who signs the server's certificates."""
    return trustme.CA()


ServerT = TypeVar("ServerT", bound=FaultServer)


@contextmanager
def fault_server(behaviour: str) -> Iterator[FaultServer]:
    """A server with this behaviour."""
    with serving(FaultServer(behaviour)) as server:
        yield server


@contextmanager
def serving(server: ServerT) -> Iterator[ServerT]:
    """``server``, with an address and running."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    scheme = "https" if "tls" in server.behaviour else "http"
    server.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

    if server.behaviour == "refused":
        listener.close()
    else:
        threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read(connection: Connection) -> tuple[str, Json] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return None
        data += part
        if not data.startswith(b"POST"):  # TLS, to a server that has none
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        if not (part := connection.recv(65536)):
            return None
        body += part
    return head.decode(), json.loads(body)


def documents_of(body: Json) -> list[str]:
    """The texts to score, in whatever format they came."""
    documents = body.get("documents", body.get("texts", body.get("passages")))
    assert isinstance(documents, list)
    return [one["text"] if isinstance(one, dict) else one for one in documents]


def _results(body: Json) -> list[Json]:
    """The last document is the most relevant; best first, as servers answer."""
    count = len(documents_of(body))
    if body.get("raw_scores") or "passages" in body:
        logits = {n: n - count / 2 for n in reversed(range(count))}
        return [{"index": n, "score": s, "logit": s} for n, s in logits.items()]
    scores = {n: (n + 1) / (count + 1) for n in reversed(range(count))}
    return [{"index": n, "score": s, "relevance_score": s} for n, s in scores.items()]


def _answer(body: Json, results: list[Json] | None = None) -> bytes:
    results = _results(body) if results is None else results
    billed = {"meta": {"billed_units": {"search_units": UNITS}}, "usage": {"total_tokens": TOKENS}}
    whole: object = (
        results
        if "texts" in body
        else {
            **dict.fromkeys(("results", "data", "rankings"), results),
            **billed,
        }
    )
    return json.dumps(whole).encode()


def _send(
    connection: Connection,
    content: bytes,
    status: str = "200 OK",
    headers: str = "",
    kind: str = "application/json",
    length: int | None = None,
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}"
    connection.sendall(f"{head}Content-Length: {length or len(content)}\r\n\r\n".encode() + content)


def _status(status: str, headers: str = "", html: bool = False) -> Behaviour:
    content = b"<html>oops</html>" if html else b'{"message": "oops"}'
    kind = "text/html" if html else "application/json"
    return lambda _server, connection, _body: _send(connection, content, status, headers, kind)


def _ok(_server: FaultServer, connection: Connection, body: Json) -> None:
    _send(connection, _answer(body))


def _recovers(server: FaultServer, connection: Connection, body: Json) -> None:
    if len(server.requests) <= 2:
        _send(connection, b"{}", "503 Service Unavailable")
    else:
        _ok(server, connection, body)


def _slow(_server: FaultServer, connection: Connection, body: Json) -> None:
    time.sleep(0.1)
    _send(connection, _answer(body))


def _hang(server: FaultServer, connection: Connection, _body: Json) -> None:
    server.stopping.wait(10)
    connection.close()


def _drip(server: FaultServer, connection: Connection, body: Json) -> None:
    content = _answer(body)
    _send(connection, b"", length=len(content))
    for byte in content:
        if server.stopping.is_set():
            break
        connection.sendall(bytes([byte]))
        time.sleep(0.02)
    connection.close()


def _stall(server: FaultServer, connection: Connection, _body: Json) -> None:
    _send(connection, b"", length=100)
    server.stopping.wait(10)
    connection.close()


def _cut(_server: FaultServer, connection: Connection, body: Json) -> None:
    content = _answer(body)
    _send(connection, content[: len(content) // 2], length=len(content))
    connection.close()


def _reset(_server: FaultServer, connection: Connection, body: Json) -> None:
    content = _answer(body)
    _send(connection, content[: len(content) // 2], length=len(content))
    time.sleep(0.02)  # for the client to see some of the body first
    linger = struct.pack("ii", 1, 0)  # on, for no time: a reset instead of an orderly end
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def _truncated(_server: FaultServer, connection: Connection, body: Json) -> None:
    content = _answer(body)
    _send(connection, content[: len(content) // 2])


def _changed(change: Callable[[list[Json]], list[Json]]) -> Behaviour:
    return lambda _server, connection, body: _send(
        connection, _answer(body, change(_results(body)))
    )


def _other(**values: object) -> Behaviour:
    return _changed(lambda results: [{**results[0], **values}, *results[1:]])


_LATER = formatdate(time.time() + 7200, usegmt=True)
BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _ok,
    "slow": _slow,
    "fails twice, recovers": _recovers,
    "429": _status("429 Too Many Requests"),
    "429, Retry-After: 0": _status("429 Too Many Requests", "Retry-After: 0\r\n"),
    "429, Retry-After: 3600": _status("429 Too Many Requests", "Retry-After: 3600\r\n"),
    "429, Retry-After: a date": _status("429 Too Many Requests", f"Retry-After: {_LATER}\r\n"),
    "500": _status("500 Internal Server Error"),
    "502 HTML": _status("502 Bad Gateway", html=True),
    "503": _status("503 Service Unavailable"),
    "503 HTML": _status("503 Service Unavailable", html=True),
    "400": _status("400 Bad Request"),
    "401": _status("401 Unauthorized"),
    "403": _status("403 Forbidden"),
    "404": _status("404 Not Found"),
    "413": _status("413 Payload Too Large"),
    "422": _status("422 Unprocessable Entity"),
    "redirect": _status("307 Temporary Redirect", "Location: http://127.0.0.1:9/\r\n"),
    "refused": _ok,
    "reset mid-body": _reset,
    "cut short": _cut,
    "hang before headers": _hang,
    "drip": _drip,
    "headers, then stall": _stall,
    "truncated JSON": _truncated,
    "wrong content type": lambda _server, connection, _body: _send(
        connection, b"<html>welcome</html>", kind="text/html"
    ),
    "duplicate index": _changed(lambda results: [results[0], *results[:-1]]),
    "index out of range": _other(index=99),
    "no index": _other(index=None),
    "too few results": _changed(lambda results: results[1:]),
    "no results": _changed(lambda _results: []),
    "NaN": _other(**dict.fromkeys(SCORE_KEYS, float("nan"))),
    "text for a score": _other(**dict.fromkeys(SCORE_KEYS, "high")),
    "tls, unknown authority": _ok,
    "no tls": _ok,
}
# A repeated 500 or 502 divides requests, and the scores here depend on how documents are batched.
RANDOM_FAULTS = (
    "429",
    "429, Retry-After: 0",
    "429, Retry-After: 3600",
    "503",
    "503 HTML",
    "reset mid-body",
    "cut short",
    "truncated JSON",
    "duplicate index",
    "index out of range",
    "no index",
    "too few results",
    "NaN",
    "hang before headers",
    "drip",
    "headers, then stall",
)


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=RandomServer.__doc__)
    for name in ("faults", "delay", "jitter"):
        parser.add_argument(f"--{name}", type=float, default=getattr(RandomServer, name))
    with serving(RandomServer(**vars(parser.parse_args()))) as server:
        print(server.url, flush=True)
        sys.stdin.read()
    with server.lock:
        print(json.dumps(server.done))


if __name__ == "__main__":
    main()
