"""A real HTTP server on loopback that misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate

Connection = socket.socket
Behaviour = Callable[["FaultServer", Connection, dict[str, object]], None]


@dataclass
class FaultServer:
    """Answers every request by its behaviour, and counts them."""

    behaviour: str
    url: str = ""
    requests: list[dict[str, object]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: Connection) -> None:
        """One request, one answer, and the connection is closed."""
        with connection, suppress(OSError):
            head, body = _read(connection)
            self.heads.append(head)
            self.requests.append(body)
            BEHAVIOURS[self.behaviour](self, connection, body)


@contextmanager
def fault_server(behaviour: str) -> Iterator[FaultServer]:
    """A server with this behaviour."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = FaultServer(behaviour, f"http://127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read(connection: Connection) -> tuple[str, dict[str, object]]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode(), json.loads(body)


def _documents(body: dict[str, object]) -> list[str]:
    documents = body.get("documents", body.get("texts"))
    assert isinstance(documents, list)
    return documents


def _results(body: dict[str, object]) -> list[dict[str, object]]:
    """The last document is the most relevant; best first, as servers answer."""
    count = len(_documents(body))
    return [
        {"index": n, "score": (n + 1) / (count + 1), "relevance_score": (n + 1) / (count + 1)}
        for n in reversed(range(count))
    ]


def _answer(body: dict[str, object], results: list[dict[str, object]] | None = None) -> bytes:
    results = _results(body) if results is None else results
    whole: object = results if "texts" in body else {"results": results, "data": results}
    return json.dumps(whole).encode()


def _send(
    connection: Connection,
    content: bytes,
    status: str = "200 OK",
    headers: str = "",
    kind: str = "application/json",
    length: int | None = None,
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{headers}"
    connection.sendall(f"{head}Content-Length: {length or len(content)}\r\n\r\n".encode() + content)


def _status(status: str, headers: str = "", html: bool = False) -> Behaviour:
    content = b"<html>oops</html>" if html else b'{"message": "oops"}'
    kind = "text/html" if html else "application/json"
    return lambda _server, connection, _body: _send(connection, content, status, headers, kind)


def _ok(_server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    _send(connection, _answer(body))


def _slow(server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    server.stopping.wait(5.5)  # longer than httpx's own timeout
    _ok(server, connection, body)


def _recovers(server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    if len(server.requests) <= 2:
        _send(connection, b"{}", "503 Service Unavailable")
    else:
        _ok(server, connection, body)


def _hang(server: FaultServer, _connection: Connection, _body: dict[str, object]) -> None:
    server.stopping.wait(10)


def _drip(server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    content = _answer(body)
    _send(connection, b"", length=len(content))
    for byte in content:
        if server.stopping.is_set():
            return
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def _stall(server: FaultServer, connection: Connection, _body: dict[str, object]) -> None:
    _send(connection, b"", length=100)
    server.stopping.wait(10)


def _reset(_server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    content = _answer(body)
    _send(connection, content[: len(content) // 2], length=len(content))


def _truncated(_server: FaultServer, connection: Connection, body: dict[str, object]) -> None:
    content = _answer(body)
    _send(connection, content[: len(content) // 2])


def _changed(change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> Behaviour:
    return lambda _server, connection, body: _send(
        connection, _answer(body, change(_results(body)))
    )


def _other(**values: object) -> Behaviour:
    return _changed(lambda results: [{**results[0], **values}, *results[1:]])


BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _ok,
    "slow": _slow,
    "recovers": _recovers,
    "429": _status("429 Too Many Requests"),
    "429 retry-after 0": _status("429 Too Many Requests", "Retry-After: 0\r\n"),
    "429 retry-after 3600": _status("429 Too Many Requests", "Retry-After: 3600\r\n"),
    "429 retry-after date": _status(
        "429 Too Many Requests", f"Retry-After: {formatdate(time.time() + 7200, usegmt=True)}\r\n"
    ),
    "500": _status("500 Internal Server Error"),
    "502 html": _status("502 Bad Gateway", html=True),
    "503": _status("503 Service Unavailable"),
    "400": _status("400 Bad Request"),
    "401": _status("401 Unauthorized"),
    "403": _status("403 Forbidden"),
    "404": _status("404 Not Found"),
    "413": _status("413 Payload Too Large"),
    "422": _status("422 Unprocessable Entity"),
    "redirect": _status("307 Temporary Redirect", "Location: http://127.0.0.1:9/\r\n"),
    "hang": _hang,
    "drip": _drip,
    "stall": _stall,
    "reset": _reset,
    "truncated": _truncated,
    "wrong type": lambda _server, connection, _body: _send(
        connection, b"<html>welcome</html>", kind="text/html"
    ),
    "duplicate index": _changed(lambda results: [results[0], *results[:-1]]),
    "missing result": _changed(lambda results: results[1:]),
    "index out of range": _other(index=99),
    "no index": _other(index=None),
    "nan": _other(score=float("nan"), relevance_score=float("nan")),
    "text for a score": _other(score="high", relevance_score="high"),
    "no results": _changed(lambda _results: []),
}
