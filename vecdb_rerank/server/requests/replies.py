"""JSON answers."""

from __future__ import annotations

import math

from starlette.responses import Response

from vecdb_rerank.server.errors import ApiError, Shape, error_body
from vecdb_rerank.server.json_text import dumps


class JsonResponse(Response):
    """A JSON answer, written by orjson."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return ``content`` as JSON."""
        return dumps(content)


def error_response(error: ApiError, shape: Shape, request_id: str) -> JsonResponse:
    """Return the answer for ``error`` in the shape that the route's clients read."""
    status, body = error_body(error, shape, request_id)
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JsonResponse(body, status, headers)
