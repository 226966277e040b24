"""One request under way: its id, its deadline, and whose it is."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from vecdb_rerank.server.checks.admission import CallerDeadline
from vecdb_rerank.server.checks.keys import ANONYMOUS, Caller
from vecdb_rerank.server.errors import ApiError, Shape

if TYPE_CHECKING:
    from vecdb_rerank.server.service import Service

# In the scope of ASGI.
_KEY, _REFUSED = "vecdb_rerank.exchange", "vecdb_rerank.refused"
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_TIMEOUTS = ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms")


@dataclass(slots=True)
class Exchange:
    """One request under way.

    ``trace_id`` is that of the caller's trace. ``timeout`` is the seconds that the caller waits,
    None if it did not say. ``shape`` is that of the route's errors. ``arrived`` is on the monotonic
    clock.
    """

    service: Service
    request_id: str
    trace_id: str | None = None
    timeout: float | None = None
    shape: Shape = "common"
    caller: Caller = ANONYMOUS
    arrived: float = field(default_factory=time.monotonic)

    def deadline(self, configured: float | None) -> CallerDeadline:
        """Return the caller's deadline, else the one of ``configured`` seconds."""
        most = self.service.settings.serve.max_deadline
        wanted = configured if self.timeout is None else min(self.timeout, most)
        return CallerDeadline(math.inf if wanted is None else self.arrived + wanted)


def put(scope: Scope, exchange: Exchange) -> None:
    """Keep ``exchange`` in the scope of its request."""
    scope[_KEY] = exchange


def exchange_of(request: Request) -> Exchange:
    """Return the exchange of a request."""
    found: Exchange = request.scope[_KEY]
    return found


def refuse(scope: Scope, status: int) -> tuple[Shape, str]:
    """Note that its connection answers a request with ``status``: its body does not come right.

    Return the shape of the answer, and the id of the request.
    """
    scope[_REFUSED] = status
    found: Exchange | None = scope.get(_KEY)
    if found is None:  # the application has not seen it yet
        return "common", request_id_of(Headers(scope=scope))
    return found.shape, found.request_id


def refused(scope: Scope) -> int | None:
    """Return the status with which the connection answered a request, None if it did not."""
    status: int | None = scope.get(_REFUSED)
    return status


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the caller's ``x-request-id``, or a new one if it has none that can be logged."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def timeout_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the caller waits, by the earliest of its headers; None without one.

    Raises `ApiError` (400) for a header that is not a positive number of milliseconds.
    """
    found = [_seconds(name, headers[name]) for name in _TIMEOUTS if name in headers]
    return min(found, default=None)


def _seconds(name: str, given: str) -> float:
    if not (given.isascii() and given.isdecimal() and len(given) < 12) or int(given) < 1:
        raise ApiError(400, "must be a positive number of milliseconds", field=name)
    return int(given) / 1e3
