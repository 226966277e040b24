"""A connection of opensearch-py whose timeout is the limit of a whole request.

urllib3's timeout counts anew with each part that a server sends, so a server that sends a byte a
second is never late. Here every read gets the time that is left.
"""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

import urllib3
import urllib3.connection
from opensearchpy import Urllib3HttpConnection

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


class _Reads(socket.SocketIO):
    """Reads of a socket, each within the time that is left."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "r")
        self._source = sock

    def readinto(self, buffer: Any) -> int | None:
        left = _ends_at.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole request is over")
        if not math.isinf(left):
            self._source.settimeout(left)
        return super().readinto(buffer)


class _Socket:
    """What an `HTTPResponse` wants of a socket: a file to read from."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        reads = _Reads(self._sock)
        self._sock._io_refs += 1  # type: ignore[attr-defined]  # as `socket.makefile` does
        return io.BufferedReader(reads)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Socket(sock), *args, **kwargs)  # type: ignore[arg-type]  # reads of it


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class TotalTimeoutConnection(Urllib3HttpConnection):
    """Ends a request after ``timeout`` (seconds), however slowly the server sends."""

    def _create_urllib3_pool(self) -> None:
        super()._create_urllib3_pool()
        secure = isinstance(self.pool, urllib3.HTTPSConnectionPool)
        self.pool.ConnectionCls = _HTTPSConnection if secure else _HTTPConnection

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and read the whole response."""
        seconds = timeout or self.timeout
        token = _ends_at.set(math.inf if seconds is None else time.monotonic() + seconds)
        try:
            return super().perform_request(method, url, params, body, timeout, ignore, headers)
        finally:
            _ends_at.reset(token)
