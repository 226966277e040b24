"""httpx transports that keep a deadline, whatever the server does.

httpx and the SDKs on it take timeouts per operation: a server that sends a byte a second outlives
them all. Here every connect, read and write on the socket is capped by the time that is left of
the current call's deadline. The deadline is a context variable, not an argument, since SDKs
between us and the socket hand nothing through; it is read in the thread or task that makes the
call, which is the one that httpx does its I/O in.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from vecdb_rerank.deadline import Deadline

_NEVER = Deadline()
_deadline: ContextVar[Deadline] = ContextVar("deadline", default=_NEVER)


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Calls made inside the block end by ``deadline``, with an `httpcore.TimeoutException`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None, late: type[Exception]) -> float:
    remaining = _deadline.get().remaining()
    if remaining <= 0:
        raise late("the deadline has passed")
    return remaining if timeout is None else min(timeout, remaining)


def _finite(timeout: float) -> float | None:
    return None if timeout == float("inf") else timeout


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _finite(_left(timeout, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _finite(_left(timeout, httpcore.WriteTimeout)))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _finite(_left(timeout, httpcore.ConnectTimeout))
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    _inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _finite(_left(timeout, httpcore.ConnectTimeout))
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, _finite(_left(timeout, httpcore.ReadTimeout)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, _finite(_left(timeout, httpcore.WriteTimeout)))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _finite(_left(timeout, httpcore.ConnectTimeout))
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    _inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _finite(_left(timeout, httpcore.ConnectTimeout))
        inner = await self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _AsyncStream(inner)


class DeadlineTransport(httpx.BaseTransport):
    """A pooled transport under `httpx.Client` that keeps the deadline of `until`."""

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, http2: bool = False) -> None:
        context = httpx.create_ssl_context(verify=verify)
        self._pool = httpcore.ConnectionPool(context, http2=http2, network_backend=_Backend())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response, so that its body keeps the deadline."""
        response = self._pool.handle_request(_to_core(request))
        try:
            body = b"".join(part for part in _iterable(response.stream))
        finally:
            response.close()
        return _to_httpx(response, body)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class AsyncDeadlineTransport(httpx.AsyncBaseTransport):
    """A pooled transport under `httpx.AsyncClient` that keeps the deadline of `until`."""

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, http2: bool = False) -> None:
        context = httpx.create_ssl_context(verify=verify)
        self._pool = httpcore.AsyncConnectionPool(
            context, http2=http2, network_backend=_AsyncBackend()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response, so that its body keeps the deadline."""
        response = await self._pool.handle_async_request(_to_core(request))
        try:
            body = b"".join([part async for part in _async_iterable(response.stream)])
        finally:
            await response.aclose()
        return _to_httpx(response, body)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _to_core(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _to_httpx(response: httpcore.Response, body: bytes) -> httpx.Response:
    return httpx.Response(
        status_code=response.status,
        headers=response.headers,
        stream=httpx.ByteStream(body),
        extensions=response.extensions,
    )


def _iterable(stream: Any) -> Iterable[bytes]:
    parts: Iterable[bytes] = stream
    return parts


def _async_iterable(stream: Any) -> AsyncIterator[bytes]:
    parts: AsyncIterator[bytes] = stream.__aiter__()
    return parts
