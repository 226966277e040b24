"""What every request passes first: its id, its checks and its log line; errors become answers."""

from __future__ import annotations

import logging
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vecdb_rerank.server.checks import security
from vecdb_rerank.server.errors import ApiError, as_api_error
from vecdb_rerank.server.requests import access
from vecdb_rerank.server.requests import exchange as exchanges
from vecdb_rerank.server.requests.exchange import Exchange
from vecdb_rerank.server.requests.replies import error_response
from vecdb_rerank.server.requests.tracing import trace_of_caller
from vecdb_rerank.server.service import Live, Service

log = logging.getLogger("vecdb_rerank")
_GONE = 499  # logged for a client that went away before its answer
_PUBLIC = ("/health", "/openapi.json", "/docs")
# Whose errors have the shape of text-embeddings-inference; at /rerank until a body was read that is
# not TEI's. Before, nothing tells the clients apart: TEI's read the sentence in `error`, which is
# an object in the common shape, and the others go by the status.
_OF_TEI = ("/rerank", "/info", "/health")


class Front:
    """Checks requests before ``app`` sees them, and answers for what it raises.

    ``app`` finds the `Exchange` of a request in its scope. ``paths`` are those of its routes.
    """

    def __init__(self, app: ASGIApp, live: Live, prefix: str, paths: Collection[str]) -> None:
        self._app = app
        self._live = live
        self._prefix = prefix
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        async with self._live.use() as service:
            await self._answer(service, scope, receive, send)

    async def _answer(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(self._prefix)
        exchange = Exchange(
            service,
            exchanges.request_id_of(headers),
            shape="tei" if path in _OF_TEI else "common",
        )
        exchanges.put(scope, exchange)
        status = _GONE

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = exchange.request_id
            await send(message)

        try:
            with trace_of_caller(headers, exchange.request_id) as exchange.trace_id:
                self._check(exchange, scope, path, headers)
                await self._app(scope, receive, send_on)
        except ClientDisconnect:
            pass
        except Exception as error:
            if status != _GONE:  # the answer has begun
                raise
            response = error_response(_told(error, exchange), exchange.shape, exchange.request_id)
            await response(scope, receive, send_on)
        finally:
            status = exchanges.refused(scope) or status
            route = path if path in self._paths else "other"
            access.record(exchange, scope["method"], route, status)

    def _check(self, exchange: Exchange, scope: Scope, path: str, headers: Headers) -> None:
        service = exchange.service
        security.check_host(headers.getlist("host"), service.hosts)
        own = f"{scope['scheme']}://{headers['host']}"
        security.check_origin(headers.getlist("origin"), own, service.settings.serve.origins)
        if path not in _PUBLIC:
            exchange.caller = service.keys.caller(
                headers.getlist("authorization"), headers.getlist("x-api-key")
            )
        if scope["method"] == "POST":
            security.check_content_type(headers.get("content-type"))
        exchange.timeout = exchanges.timeout_of(headers)


def _told(error: Exception, exchange: Exchange) -> ApiError:
    """Return the error that the caller gets, and log what it does not learn."""
    told = as_api_error(error)
    if told is not error:
        unexpected = told.status == 500
        log.log(
            logging.ERROR if unexpected else logging.WARNING,
            "request %s failed: %s",
            exchange.request_id,
            type(error).__name__ if unexpected else error,
            exc_info=error if unexpected else None,
        )
    return told
