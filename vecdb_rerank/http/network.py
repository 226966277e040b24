"""Connections for httpcore that keep the deadline and notice bytes that follow a response."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import h11
import httpcore
import httpx

from vecdb_rerank.flow.threads import abortable, in_thread
from vecdb_rerank.http.time_limit import time_left

SocketOptions = Iterable[httpcore.SOCKET_OPTION] | None
# Longer responses are not examined for leftover bytes; their connections are closed instead.
_RECORDED = 1024 * 1024


class _Received:
    """The bytes of the last response on a connection, and whether it may be used again."""

    def __init__(self) -> None:
        self.is_tainted = False
        self._data = bytearray()
        self._is_whole = True

    def clear(self) -> None:
        """Begin a new exchange: the client sends only after it has read the last response."""
        self._data.clear()
        self._is_whole = True

    def add(self, part: bytes) -> None:
        if len(self._data) + len(part) <= _RECORDED:
            self._data += part
        else:
            self._is_whole = False

    def taint_if_more(self, response: httpcore.Response, method: str) -> None:
        """Give the connection up if anything follows ``response``, which has been read."""
        version: bytes = response.extensions.get("http_version", b"")
        if version.startswith(b"HTTP/1"):
            self.is_tainted |= not self._is_whole or _has_leftover(method, bytes(self._data))
            self.clear()


def _has_leftover(method: str, received: bytes) -> bool:
    """Return whether ``received`` holds more than one response; httpcore does not say."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_RECORDED)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "-")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(received)
    try:
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return True
    except h11.RemoteProtocolError:
        return True
    return bool(parser.trailing_data[0])


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self.received = _Received()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with abortable(self._shut):
            part = self._inner.read(max_bytes, time_left(timeout, httpcore.ReadTimeout))
        self.received.add(part)
        return part

    def _shut(self) -> None:
        """End a read in another thread."""
        sock: socket.socket = self._inner.get_extra_info("socket")
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.received.clear()
        # The inner stream's own loop begins its timeout anew with each part that a slow reader
        # takes, and would outlive the deadline.
        sock: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                sock.settimeout(time_left(timeout, httpcore.WriteTimeout))
                rest = rest[sock.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = time_left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        # httpcore closes an idle connection that it can read from.
        return (info == "is_readable" and self.received.is_tainted) or self._inner.get_extra_info(
            info
        )


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self.received = _Received()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part = await self._inner.read(max_bytes, timeout)
        self.received.add(part)
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.received.clear()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return (info == "is_readable" and self.received.is_tainted) or self._inner.get_extra_info(
            info
        )


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for `AsyncDeadlineTransport`, which cancels calls at their deadline."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        return _AsyncStream(
            await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        await self._inner.sleep(seconds)


class Backend(httpcore.NetworkBackend):
    """Opens connections whose every operation ends by the deadline of `until`."""

    _inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        """Try each address of ``host`` in turn, with equal shares of the time left."""
        addresses = _addresses(host, port, time_left(timeout, httpcore.ConnectTimeout))
        while True:
            address = addresses.pop(0)
            left = time_left(timeout, httpcore.ConnectTimeout)
            share = None if left is None else left / (len(addresses) + 1)
            try:
                return _Stream(
                    self._inner.connect_tcp(address, port, share, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of a host; a thread looks them up, since the system has no timeout."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    look_up = in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        found = look_up.result(timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("looking up the name took too long") from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def received(response: httpcore.Response) -> _Received:
    """Return the record of the connection that ``response`` came over."""
    stream: object = response.extensions.get("network_stream")
    return stream.received if isinstance(stream, _Stream | _AsyncStream) else _Received()


def drop_connection(response: httpx.Response) -> None:
    """Close the connection of ``response`` before it would be used again."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream | _AsyncStream):
        stream.received.is_tainted = True
