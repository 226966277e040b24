"""What a connection may take, and the answer to one that takes more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vecdb_rerank.server.errors import ApiError, Shape, error_body

MAX_HEAD = 64 * 1024  # bytes of request line and headers, as of trailers
MIN_RATE = 4096  # bytes per second of a body, on average
MAX_WAITING = 64  # requests that wait for the answer to one before, on a connection
LINGER = 1.0  # seconds in which a client that is still sending can read why it is refused


@dataclass
class Limits:
    """What the connections of a server may take; shared by all of them.

    ``patience`` is the seconds for a head, for progress of a body, and for progress of a client
    that reads an answer. While ``draining``, each answer is the last one of its connection.
    ``refused`` is called with the status of each refusal of a connection, or of a request that has
    not begun.
    """

    connections: int = 1000
    patience: float = 10.0
    draining: bool = False
    refused: Callable[[int], None] = lambda _: None


class RefusedError(Exception):
    """A request, or a connection, that is refused with ``status``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def answer(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        shape: Shape = "common",
        request_id: str | None = None,
    ) -> bytes:
        """Return the whole answer with these further ``headers``; by default, with a new id."""
        request_id = request_id or str(uuid.uuid4())
        _, content = error_body(ApiError(self.status, str(self)), shape, request_id)
        body = orjson.dumps(content)
        lines = (
            *(name + b": " + value for name, value in headers),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"x-request-id: " + request_id.encode(),
        )
        return STATUS_LINE[self.status] + b"\r\n".join(lines) + b"\r\n\r\n" + body
