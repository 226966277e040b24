"""Bytes to a server, and what it answers."""

from __future__ import annotations

import socket
from contextlib import suppress

SECONDS = 10.0  # after which an answer that does not come is a failure


def connected(url: str) -> socket.socket:
    """Return a connection to the server at ``url``."""
    host, _, port = url.rpartition("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def head(*lines: str, path: str = "/v1/rerank", host: str | None = "localhost") -> bytes:
    """Return the head of a POST with these further lines."""
    first = (f"POST {path} HTTP/1.1", *([f"Host: {host}"] if host else []))
    return "\r\n".join((*first, "Content-Type: application/json", *lines, "", "")).encode()


def answered(url: str, *parts: bytes) -> bytes:
    """Return all that the server sends for ``parts`` until it closes the connection."""
    with connected(url) as connection:
        for part in parts:
            connection.sendall(part)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers in a stream of them."""
    parts = answer.split(b"HTTP/1.1 ")
    return [int(part[:3]) for part in parts[1:]]
