"""The Model Context Protocol over streamable HTTP, as a route of the service."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from vecdb_rerank.server.mcp.server import Context, make_server
from vecdb_rerank.server.requests.exchange import Exchange, exchange_of


async def _exchange(context: Context) -> Exchange:
    request: Request | None = context.request
    assert request is not None  # of every message over HTTP
    return exchange_of(request)


class McpEndpoint:
    """The ASGI application of one route, which takes POST alone.

    It keeps no sessions: every request stands for itself, so any worker answers it, and no caller
    finds what another one left. `Front` has checked the key, ``Host`` and ``Origin``.
    """

    def __init__(self) -> None:
        self._manager = StreamableHTTPSessionManager(
            make_server(_exchange),
            stateless=True,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which requests are answered; it can be entered once."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._manager.handle_request(scope, receive, send)
