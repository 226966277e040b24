"""The Model Context Protocol over streamable HTTP, as a route of the service."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager

from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from vecdb_rerank._checks import json_kind
from vecdb_rerank.server.errors import ApiError, wrong
from vecdb_rerank.server.mcp.server import Context, make_server
from vecdb_rerank.server.requests import fields
from vecdb_rerank.server.requests.exchange import Exchange, exchange_of
from vecdb_rerank.server.requests.fields import Body
from vecdb_rerank.server.requests.reading import parsed, whole


async def _exchange(context: Context) -> Exchange:
    request: Request | None = context.request
    assert request is not None  # of every message over HTTP
    return exchange_of(request)


class McpEndpoint:
    """The ASGI application of one route, which takes POST alone.

    It keeps no sessions: every request stands for itself, so any worker answers it, and no caller
    finds what another one left. `Front` has checked the key, ``Host`` and ``Origin``.

    Bodies are read as on the other routes, and refused as there if they are not JSON-RPC messages.
    Errors of the protocol, such as an unknown method, are JSON-RPC responses.
    """

    def __init__(self) -> None:
        self._manager = StreamableHTTPSessionManager(
            make_server(_exchange),
            stateless=True,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=sys.maxsize,  # the body was read before, within its limit
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which requests are answered; it can be entered once."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if check_accept_headers(request) != (True, True):
            raise ApiError(406, "must allow application/json and text/event-stream", field="accept")
        most = exchange_of(request).service.settings.serve.max_body_bytes
        body = await whole(request, most)
        _check(parsed(body))
        await self._manager.handle_request(_plain(scope, body), _replayed(body, receive), send)


def _check(message: Body) -> None:
    """Raise `ApiError` (422) for what is neither a request nor a notification of JSON-RPC.

    The service asks nothing of its clients, so they have nothing to answer.
    """
    if fields.text(message, "jsonrpc") != "2.0":
        raise wrong("jsonrpc", "must be 2.0")
    fields.text(message, "method")
    # An id that is neither would be taken for none, and its request for a notification.
    if "id" in message and type(message["id"]) not in (str, int):
        raise wrong("id", f"must be a string or a whole number, got {json_kind(message['id'])}")
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise wrong("params", f"must be an object, got {json_kind(params)}")


def _plain(scope: Scope, body: bytes) -> Scope:
    """Return the scope of a request whose body is ``body``, without an encoding."""
    framing = (b"content-length", b"content-encoding", b"transfer-encoding")
    kept = [header for header in scope["headers"] if header[0] not in framing]
    return {**scope, "headers": [*kept, (b"content-length", b"%d" % len(body))]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives ``body`` first, and then what comes from the client."""
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return read.pop() if read else await receive()

    return replay
