"""The routes for operators, on a listener of their own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vecdb_rerank.server.checks import security
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.readiness import Readiness
from vecdb_rerank.server.requests import metrics
from vecdb_rerank.server.requests.replies import JsonResponse
from vecdb_rerank.server.service import Live


def admin_app(live: Live, host: str) -> Starlette:
    """Return the application with ``/healthz``, ``/readyz`` and ``/metrics`` of ``live``.

    Where it listens on loopback, only the names of ``host`` and loopback may address it. Pages of
    other origins may not.
    """
    readiness = Readiness(live)
    allowed = (
        security.allowed_hosts(host, (), has_keys=False) if security.is_loopback(host) else None
    )

    async def healthz(_: Request) -> Response:
        return JsonResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        found = await readiness.problems()
        body = {"status": "not ready" if found else "ok", **found}
        return JsonResponse(body, 503 if found else 200)

    async def page(_: Request) -> Response:
        return Response(metrics.page(), media_type=metrics.CONTENT_TYPE)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return JsonResponse({"message": str(error)}, error.status)

    def checked(route: Route) -> Route:
        inner = route.endpoint

        async def endpoint(request: Request) -> Response:
            if hosts := request.headers.getlist("host"):  # load balancers may send none
                security.check_host(hosts, allowed)
            own = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
            security.check_origin(request.headers.getlist("origin"), own)
            answer: Response = await inner(request)
            return answer

        return Route(route.path, endpoint, methods=["GET"])

    return Starlette(
        routes=[
            checked(Route("/healthz", healthz)),
            checked(Route("/readyz", readyz)),
            checked(Route("/metrics", page)),
        ],
        exception_handlers={ApiError: refused},
    )
