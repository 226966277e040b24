"""httpx transports that keep a deadline and bound what a server can send.

httpx and the SDKs built on it take timeouts per operation, so a server that sends a byte a second
outlives them all. These transports cap every wait for a free connection, name look-up, connect,
TLS handshake, read and write by the time left until the current call's deadline. On an event loop
a whole call is cancelled at its deadline instead. Over HTTP/2 one thread would read for all calls
that share its connection, and its deadline would end theirs: only the asynchronous transport
uses HTTP/2.

A transport reads a whole response, at most ``max_bytes`` of it before and after decoding. It reuses
a connection only if no bytes follow the response: a server that writes one response too many would
otherwise answer each query with the result of the one before.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict, cast

import httpcore
import httpx

from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.http.decoding import ACCEPTED, decode, too_large
from vecdb_rerank.http.forwarding import with_forwarded
from vecdb_rerank.http.network import AsyncBackend, Backend, received
from vecdb_rerank.http.proxies import proxy_of
from vecdb_rerank.http.time_limit import current, time_left

Origin = tuple[str, str, int | None]
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
            left = time_left(
                request.extensions.get("timeout", {}).get("pool"), httpcore.PoolTimeout
            )
            response = self._pool(request.url).handle_request(_to_core(request, left))
            body = bytearray()
            try:
                for part in cast(Iterable[bytes], response.stream):
                    _extend(body, part, self._max_bytes)
                received(response).taint_if_more(response, request.method)
            finally:
                response.close()
        decoded = decode(bytes(body), _encoding(response), self._max_bytes, current())
        return _to_httpx(response, decoded)

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        with self._lock:
            if _origin(url) not in self._pools:
                self._pools[_origin(url)] = httpcore.ConnectionPool(
                    self._context, proxy_of(url), network_backend=Backend(), **_POOL
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
        left = time_left(None, httpx.ReadTimeout)
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
                received(response).taint_if_more(response, request.method)
            finally:
                await response.aclose()
        encoding, deadline = _encoding(response), current()
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
                network_backend=AsyncBackend(),
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
        headers=[*with_forwarded(headers), (b"Accept-Encoding", ACCEPTED)],
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
