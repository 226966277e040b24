"""The application: its routes, behind the checks that every request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from vecdb_rerank.server import about
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.mcp.http import McpEndpoint
from vecdb_rerank.server.openapi import routes as openapi
from vecdb_rerank.server.requests.exchange import exchange_of
from vecdb_rerank.server.requests.front import Front
from vecdb_rerank.server.requests.replies import error_response
from vecdb_rerank.server.rerank import routes as rerank
from vecdb_rerank.server.search import routes as search_route
from vecdb_rerank.server.service import Live


def create_app(live: Live, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the ASGI application that serves ``live``, with ``more`` routes."""
    prefix = live.current.settings.serve.url_prefix
    mcp = McpEndpoint()
    routes: list[BaseRoute] = [*_routes(), Route("/mcp", mcp, methods=["POST"]), *more]
    paths = frozenset(route.path for route in routes if isinstance(route, Route))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with mcp.running():
                yield
        finally:
            await live.close()

    app = Starlette(
        routes=[Mount(prefix, routes=routes)] if prefix else routes,
        middleware=[Middleware(Front, live=live, prefix=prefix, paths=paths)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect could send a body to another place
    app.state.live = live
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer for a route or a method that there is not."""
    assert isinstance(error, HTTPException)
    exchange = exchange_of(request)
    answer = ApiError(error.status_code, error.detail)
    response = error_response(answer, exchange.shape, exchange.request_id)
    response.headers.update(error.headers or {})
    return response


def _routes() -> list[BaseRoute]:
    return [
        Route("/v1/rerank", rerank.rerank, methods=["POST"]),
        Route("/v2/rerank", rerank.rerank, methods=["POST"]),
        Route("/rerank", rerank.rerank_or_tei, methods=["POST"]),
        Route("/v1/score", rerank.score_pairs, methods=["POST"]),
        Route("/score", rerank.score_pairs, methods=["POST"]),
        Route("/v1/search", search_route.search, methods=["POST"]),
        Route("/v1/models", about.models, methods=["GET"]),
        Route("/info", about.info, methods=["GET"]),
        Route("/health", about.health, methods=["GET"]),
        Route("/openapi.json", openapi.document, methods=["GET"]),
        Route("/docs", openapi.page, methods=["GET"]),
    ]
