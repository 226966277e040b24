"""Pooled HTTP clients that keep a deadline: one per process, and one per event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from vecdb_rerank._checks import check_type
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.http.transport import AsyncDeadlineTransport, DeadlineTransport

SyncT = TypeVar("SyncT")
AsyncT = TypeVar("AsyncT")
Verify = bool | str | Path
Loop = asyncio.AbstractEventLoop


class ClientPool(Generic[SyncT, AsyncT]):
    """Opens clients on first use, and again after they were closed.

    ``wrap`` and ``wrap_async`` turn an httpx client into what the user wants, such as an SDK's
    client. Threads of a process share its connections; a forked process opens its own. Connections
    of an event loop belong to it and are closed when it ends, so that ``asyncio.run`` may be called
    repeatedly. ``http2`` enables HTTP/2 on event loops; ``verify`` enables certificate checks, or
    names the file of an authority to trust. ``max_bytes`` bounds each response, before and after
    decoding. Cookies are neither stored nor sent, and redirects are not followed.

    Raise `ConfigurationError` if the ``verify`` file holds no certificates.
    """

    def __init__(
        self,
        wrap: Callable[[httpx.Client], SyncT],
        wrap_async: Callable[[httpx.AsyncClient], AsyncT],
        *,
        http2: bool = False,
        verify: Verify = True,
        max_bytes: int | None = None,
    ) -> None:
        self._wrap = wrap
        self._wrap_async = wrap_async
        self._http2 = http2
        self._max_bytes = max_bytes
        self._context = ssl_context(verify)
        # httpcore writes the protocols it offers into a context, so those of HTTP/2 need their own.
        self._async_context = ssl_context(verify) if http2 else self._context
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._client: httpx.Client | None = None
        self._wrapped: SyncT | None = None
        self._loops: dict[Loop, tuple[AsyncGenerator[AsyncT, None], AsyncT]] = {}

    def sync(self) -> SyncT:
        """Return the client of this process."""
        with self._lock:
            self._leave_parent()
            if self._wrapped is None:
                self._client = _plain(
                    httpx.Client, DeadlineTransport(self._context, max_bytes=self._max_bytes)
                )
                self._wrapped = self._wrap(self._client)
            return self._wrapped

    async def of_loop(self) -> AsyncT:
        """Return the client of the running event loop."""
        with self._lock:
            self._leave_parent()
            for loop in [loop for loop in self._loops if loop.is_closed()]:
                del self._loops[loop]
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            opened = self._open(loop)
            self._loops[loop] = opened, await anext(opened)
        return self._loops[loop][1]

    async def _open(self, loop: Loop) -> AsyncGenerator[AsyncT, None]:
        # A generator, since an event loop closes those that are open when it ends.
        transport = AsyncDeadlineTransport(
            self._async_context, http2=self._http2, max_bytes=self._max_bytes
        )
        client = _plain(httpx.AsyncClient, transport)
        try:
            yield self._wrap_async(client)
        finally:
            self._loops.pop(loop, None)
            await client.aclose()

    def _leave_parent(self) -> None:
        """Keep the connections of the parent after a fork, so that nothing closes them."""
        if self._process != os.getpid():
            self._parents = (self._client, self._loops)
            self._start()

    def close(self) -> None:
        """Close the connections of this process; those of event loops end with them."""
        with self._lock:
            self._leave_parent()
            client, self._client, self._wrapped = self._client, None, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of this process and of the running event loop."""
        self.close()
        with suppress(KeyError):
            await self._loops[asyncio.get_running_loop()][0].aclose()


ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)


def _plain(
    kind: Callable[..., ClientT], transport: httpx.BaseTransport | httpx.AsyncBaseTransport
) -> ClientT:
    # Each call sets its own deadline. A redirect could carry documents to another server. A jar
    # of cookies would grow, and its contents be sent back until servers refuse the headers.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return kind(transport=transport, timeout=None, follow_redirects=False, cookies=no_cookies)


def ssl_context(verify: Verify) -> ssl.SSLContext:
    """Return a TLS context; raise `ConfigurationError` if the file holds no certificates."""
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify)
    check_type("verify", verify, str, Path)
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:
        raise ConfigurationError("verify", f"{verify} holds no certificates (PEM)") from error
