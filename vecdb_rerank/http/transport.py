"""httpx transports that keep a deadline and bound what a server can send.

httpx and the SDKs built on it take timeouts per operation, so a server that sends a byte a second
outlives them all. These transports cap every wait for a free connection, name look-up, connect,
TLS handshake, read and write by the time left until the current call's deadline. The deadline is a
context variable and not an extension of the request, because SDKs between the caller and the
socket pass no extensions on; httpx does its I/O in the thread of the call, which can read it. On
an event loop a whole call is cancelled at its deadline instead. Over HTTP/2 one thread would read
for all calls that share its connection, and its deadline would end theirs: only the asynchronous
transport uses HTTP/2.

A transport reads a whole response, at most ``max_bytes`` of it before and after decoding. It reuses
a connection only if no bytes follow the response: a server that writes one response too many would
otherwise answer each query with the result of the one before.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
import ssl
import threading
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypedDict, cast

import h11
import httpcore
import httpx

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.threads import abortable, in_thread
from vecdb_rerank.http.decoding import ACCEPTED, decode, too_large
from vecdb_rerank.http.proxies import proxy_of

Origin = tuple[str, str, int | None]
SocketOptions = Iterable[httpcore.SOCKET_OPTION] | None
# The key of a request's extensions whose value, a query string, is added to the URL here, below
# the level at which httpx logs it.
SECRET_QUERY = "vecdb_rerank.query"


class _PoolOptions(TypedDict):
    max_connections: int
    max_keepalive_connections: int
    keepalive_expiry: float


_POOL: _PoolOptions = {
    "max_connections": 100,
    "max_keepalive_connections": 20,
    "keepalive_expiry": 30.0,  # seconds, below the idle timeout of usual load balancers
}
# Longer responses are not examined for leftover bytes; their connections are closed instead.
_RECORDED = 1024 * 1024
_NEVER = Deadline()
_deadline: ContextVar[Deadline] = ContextVar("deadline", default=_NEVER)


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """End calls made inside the block by ``deadline``, with an `httpx.TimeoutException`.

    Of nested blocks the sooner deadline applies.
    """
    token = _deadline.set(min(deadline, _deadline.get(), key=lambda each: each.ends_at))
    try:
        yield
    finally:
        _deadline.reset(token)


def drop_connection(response: httpx.Response) -> None:
    """Close the connection of ``response`` before it would be used again."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream | _AsyncStream):
        stream.received.is_tainted = True


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    """Return the seconds one operation may take; None without a limit."""
    remaining = _deadline.get().remaining()
    if remaining <= 0:
        raise late("the deadline has passed")
    if timeout is None:
        return None if math.isinf(remaining) else remaining
    return min(timeout, remaining)


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
            part = self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))
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


class _AsyncBackend(httpcore.AsyncNetworkBackend):
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
        return _AsyncStream(
            await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


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


class DeadlineTransport(httpx.BaseTransport):
    """A pooled transport for `httpx.Client` that keeps the deadline of `until`.

    It takes proxies from the environment, and certificates from ``context``. ``max_bytes`` bounds
    a response before and after decoding; None sets no limit.
    """

    def __init__(self, context: ssl.SSLContext, *, max_bytes: int | None = None) -> None:
        self._context = context
        self._max_bytes = max_bytes
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
                    _extend(body, part, self._max_bytes)
                _received(response).taint_if_more(response, request.method)
            finally:
                response.close()
        decoded = decode(bytes(body), _encoding(response), self._max_bytes, _deadline.get())
        return _to_httpx(response, decoded)

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


def _is_above_debug(record: logging.LogRecord) -> bool:
    """Keep records of HTTP/2's header compression out of logs: those at DEBUG hold all headers."""
    return record.levelno > logging.DEBUG


class AsyncDeadlineTransport(httpx.AsyncBaseTransport):
    """A pooled transport for `httpx.AsyncClient` that keeps the deadline of `until`.

    Each call has its own task, which is cancelled at most once, by the deadline or by the
    caller's cancellation. A second cancellation, while httpcore cleans up after the first, would
    leave the connection in its pool as busy for ever. Arguments as of `DeadlineTransport`.
    """

    def __init__(
        self, context: ssl.SSLContext, *, http2: bool = False, max_bytes: int | None = None
    ) -> None:
        self._context = context
        self._http2 = http2
        if http2:
            for name in ("hpack.hpack", "hpack.table"):
                logging.getLogger(name).addFilter(_is_above_debug)
        self._max_bytes = max_bytes
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
            task.exception()  # asyncio warns about errors that were never read

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        with _errors_of_httpx(request):
            pool = self._pool(request.url)
            response = await pool.handle_async_request(_to_core(request, None))
            body = bytearray()
            try:
                async for part in cast(AsyncIterable[bytes], response.stream):
                    _extend(body, part, self._max_bytes)
                _received(response).taint_if_more(response, request.method)
            finally:
                await response.aclose()
        encoding, deadline = _encoding(response), _deadline.get()
        if not encoding:
            return _to_httpx(response, bytes(body))
        work = in_thread(lambda: decode(bytes(body), encoding, self._max_bytes, deadline))
        return _to_httpx(response, await asyncio.wrap_future(work))

    def _pool(self, url: httpx.URL) -> httpcore.AsyncConnectionPool:
        if _origin(url) not in self._pools:
            self._pools[_origin(url)] = httpcore.AsyncConnectionPool(
                self._context,
                proxy_of(url),
                http2=self._http2,
                network_backend=_AsyncBackend(),
                **_POOL,
            )
        return self._pools[_origin(url)]

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*self._ending, return_exceptions=True)
        for pool in self._pools.values():
            await pool.aclose()


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port


def _extend(body: bytearray, part: bytes, limit: int | None) -> None:
    body += part
    if limit is not None and len(body) > limit:
        raise too_large(limit)


def _received(response: httpcore.Response) -> _Received:
    """Return the record of the connection that ``response`` came over."""
    stream: object = response.extensions.get("network_stream")
    return stream.received if isinstance(stream, _Stream | _AsyncStream) else _Received()


@contextmanager
def _errors_of_httpx(request: httpx.Request) -> Iterator[None]:
    """Raise errors of httpcore as those of the same name in httpx, which its users expect."""
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
    """Return the request, with the seconds that waiting for a connection may take."""
    url = request.url
    timeouts = request.extensions.get("timeout", {})
    target = url.raw_path
    if query := request.extensions.get(SECRET_QUERY):
        target += (b"&" if b"?" in target else b"?") + str(query).encode()
    headers = [item for item in request.headers.raw if item[0].lower() != b"accept-encoding"]
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target),
        headers=[*headers, (b"Accept-Encoding", ACCEPTED)],
        content=request.stream,
        extensions={**request.extensions, "timeout": {**timeouts, "pool": pool}},
    )


def _encoding(response: httpcore.Response) -> str:
    found = [value for name, value in response.headers if name.lower() == b"content-encoding"]
    return b", ".join(found).decode("latin-1")


def _to_httpx(response: httpcore.Response, body: bytes) -> httpx.Response:
    """Return the response with its decoded ``body``, whose headers no longer describe it."""
    encoded = _encoding(response) != ""
    dropped = (b"content-encoding", b"content-length") if encoded else ()
    return httpx.Response(
        status_code=response.status,
        headers=[item for item in response.headers if item[0].lower() not in dropped],
        stream=httpx.ByteStream(body),
        extensions=response.extensions,
    )
