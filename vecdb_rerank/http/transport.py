"""httpx transports that keep a deadline, whatever the server does.

httpx and the SDKs on it take timeouts per operation: a server that sends a byte a second outlives
them all. Here every wait for a free connection, name look-up, connect, TLS handshake, read and
write is capped by the time that is left of the current call's deadline. The deadline is a context
variable, not an extension of the request, since SDKs between us and the socket hand no extensions
through; it is read in the thread that makes the call, which is the one that httpx does its I/O in.
On an event loop a whole call is cancelled at its deadline instead. Over HTTP/2 one thread would
read for all that share its connection, and its deadline would end their calls: only the
asynchronous transport speaks it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import ssl
import threading
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, cast

import httpcore
import httpx

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.threads import abortable, in_thread
from vecdb_rerank.http.proxies import proxy_of

Origin = tuple[str, str, int | None]
SocketOptions = Iterable[httpcore.SOCKET_OPTION] | None
# A rerank response has some 60 bytes a document; a server that sends this much is broken.
MAX_BODY = 64 * 1024 * 1024
_POOL: dict[str, Any] = {
    "max_connections": 100,
    "max_keepalive_connections": 20,
    "keepalive_expiry": 30.0,  # seconds, below the idle timeout of usual load balancers
}
_NEVER = Deadline()
_deadline: ContextVar[Deadline] = ContextVar("deadline", default=_NEVER)


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Calls made inside the block end by ``deadline``, with an `httpx.TimeoutException`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    """The seconds one operation may take; None for as long as it likes."""
    remaining = _deadline.get().remaining()
    if remaining <= 0:
        raise late("the deadline has passed")
    if timeout is None:
        return None if math.isinf(remaining) else remaining
    return min(timeout, remaining)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with abortable(self._shut):
            return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def _shut(self) -> None:
        """End a read in another thread."""
        sock: socket.socket = self._inner.get_extra_info("socket")
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # The inner stream's own loop begins its timeout anew with each part that a slow reader
        # takes, and would outlive the deadline.
        sock: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                sock.settimeout(_left(timeout, httpcore.WriteTimeout))
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
        left = _left(timeout, httpcore.ConnectTimeout)
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
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, _left(timeout, httpcore.ConnectTimeout))
        while True:
            address = addresses.pop(0)
            left = _left(timeout, httpcore.ConnectTimeout)
            share = None if left is None else left / (len(addresses) + 1)
            try:
                return _Stream(
                    self._inner.connect_tcp(address, port, share, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a host; the system's own look-up has no timeout, so a thread does it."""
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


class DeadlineTransport(httpx.BaseTransport):
    """A pooled transport under `httpx.Client` that keeps the deadline of `until`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._pools: dict[Origin, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response, so that its body keeps the deadline."""
        with _errors_of_httpx(request):
            left = _left(request.extensions.get("timeout", {}).get("pool"), httpcore.PoolTimeout)
            response = self._pool(request.url).handle_request(_to_core(request, left))
            body = bytearray()
            try:
                for part in cast(Iterable[bytes], response.stream):
                    _extend(body, part)
            finally:
                response.close()
        return _to_httpx(response, body)

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        with self._lock:
            if _origin(url) not in self._pools:
                self._pools[_origin(url)] = httpcore.ConnectionPool(
                    self._context, proxy_of(url), network_backend=_Backend(), **_POOL
                )
            return self._pools[_origin(url)]

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()


class AsyncDeadlineTransport(httpx.AsyncBaseTransport):
    """A pooled transport under `httpx.AsyncClient` that keeps the deadline of `until`.

    Each call has a task of its own, which is cancelled once at the most, by the deadline or by
    the caller's cancellation: a second one, while httpcore cleans up after the first, would leave
    the connection in its pool as busy for ever.
    """

    def __init__(self, context: ssl.SSLContext, *, http2: bool = False) -> None:
        self._context = context
        self._http2 = http2
        self._pools: dict[Origin, httpcore.AsyncConnectionPool] = {}
        self._ending: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response, so that its body keeps the deadline."""
        left = _left(None, httpx.ReadTimeout)
        task = asyncio.ensure_future(self._handle(request))
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task}, timeout=left)
        finally:
            if not task.done():
                task.cancel()
                self._ending.add(task)
        if not task.done():
            raise httpx.ReadTimeout("the deadline has passed", request=request)
        return task.result()

    def _ended(self, task: asyncio.Task[httpx.Response]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may be gone, which asyncio would complain of

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        with _errors_of_httpx(request):
            pool = self._pool(request.url)
            response = await pool.handle_async_request(_to_core(request, None))
            body = bytearray()
            try:
                async for part in cast(AsyncIterable[bytes], response.stream):
                    _extend(body, part)
            finally:
                await response.aclose()
        return _to_httpx(response, body)

    def _pool(self, url: httpx.URL) -> httpcore.AsyncConnectionPool:
        if _origin(url) not in self._pools:
            self._pools[_origin(url)] = httpcore.AsyncConnectionPool(
                self._context, proxy_of(url), http2=self._http2, **_POOL
            )
        return self._pools[_origin(url)]

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*self._ending, return_exceptions=True)
        for pool in self._pools.values():
            await pool.aclose()


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port


def _extend(body: bytearray, part: bytes) -> None:
    body += part
    if len(body) > MAX_BODY:
        raise httpx.RequestError(f"the response is over {MAX_BODY} bytes")


@contextmanager
def _errors_of_httpx(request: httpx.Request) -> Iterator[None]:
    """Errors of httpcore as those of the same name in httpx, which its users expect."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        names = (kind.__name__ for kind in type(error).__mro__)
        kind = next(getattr(httpx, name) for name in names if hasattr(httpx, name))
        raise kind(str(error), request=request) from error


def _to_core(request: httpx.Request, pool: float | None) -> httpcore.Request:
    """The request, with the seconds that waiting for a connection may take."""
    url = request.url
    timeouts = request.extensions.get("timeout", {})
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions={**request.extensions, "timeout": {**timeouts, "pool": pool}},
    )


def _to_httpx(response: httpcore.Response, body: bytearray) -> httpx.Response:
    return httpx.Response(
        status_code=response.status,
        headers=response.headers,
        stream=httpx.ByteStream(bytes(body)),
        extensions=response.extensions,
    )
