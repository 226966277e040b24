"""A server on a socket: uvicorn's, with bounded connections and a drain of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.network.connection import Connection
from vecdb_rerank.server.network.limits import Limits

_KEEP_ALIVE = 75  # seconds; more than clients keep a connection, so that it is they who close it
_TICKS = 5  # uvicorn's ticks (0.1 s) between two looks at the time limits


class Listener(uvicorn.Server):
    """Serves ``app`` on ``sock``; ``finish`` is the seconds for requests under way at the end.

    Set ``should_exit`` to end it. ``on_second`` is called about once a second.
    """

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        limits: Limits,
        *,
        finish: float = 10.0,
        tls: ssl.SSLContext | None = None,
        on_second: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="auto",
                lifespan="on",
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # identity headers of clients are never believed
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=finish,  # type: ignore[arg-type]  # seconds, of any kind
            )
        )
        self._sock = sock
        self._tls = tls
        self._on_second = on_second
        self.limits = limits

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._sock.getsockname()[1]
        return port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Start the application, then listen."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the application does not start: see the log")
        self.servers = [
            await asyncio.get_running_loop().create_server(
                lambda: Connection(
                    self.limits, self.config, self.server_state, self.lifespan.state
                ),
                sock=self._sock,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.patience if self._tls else None,
                backlog=self.config.backlog,
            )
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look at the time limits of all connections."""
        if counter % _TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.check(now)
        if counter % 10 == 0:
            self._on_second()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what has begun; each answer is the last one of its connection."""
        self.limits.draining = True
        checking = asyncio.ensure_future(self._check_to_the_end())
        try:
            await super().shutdown(sockets)
        finally:
            checking.cancel()

    async def _check_to_the_end(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.on_tick(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def bound(host: str, port: int, key: str) -> socket.socket:
    """Return a socket bound to an address; raise `ConfigurationError` (``key``) if it is taken."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(
            address[:2],
            family=family,
            backlog=2048,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise ConfigurationError(
            key, f"cannot listen on {host}:{port}: {error.strerror or error}"
        ) from None
