"""One request under way: its id, its deadline, and whose it is."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import Scope

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.server.errors import ApiError, Shape
from vecdb_rerank.server.keys import ANONYMOUS, Caller

if TYPE_CHECKING:
    from vecdb_rerank.server.service import Service

_KEY = "vecdb_rerank.exchange"  # in the scope of ASGI
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TIMEOUTS = ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms")


@dataclass(slots=True)
class Exchange:
    """One request under way.

    ``arrived`` is on the monotonic clock. ``timeout`` is the seconds that the caller waits, None if
    it did not say. ``shape`` is that of the route's errors.
    """

    service: Service
    request_id: str
    traceparent: str | None = None
    timeout: float | None = None
    shape: Shape = "common"
    caller: Caller = ANONYMOUS
    arrived: float = field(default_factory=time.monotonic)

    def deadline(self, configured: float | None) -> Deadline:
        """Return the caller's deadline, else the one of ``configured`` seconds."""
        most = self.service.settings.serve.max_deadline
        wanted = configured if self.timeout is None else min(self.timeout, most)
        return Deadline() if wanted is None else Deadline(self.arrived + wanted)


def put(scope: Scope, exchange: Exchange) -> None:
    """Keep ``exchange`` in the scope of its request."""
    scope[_KEY] = exchange


def exchange_of(request: Request) -> Exchange:
    """Return the exchange of a request."""
    found: Exchange = request.scope[_KEY]
    return found


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the caller's ``x-request-id``, or a new one if it has none that can be logged."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the caller's ``traceparent`` (W3C Trace Context) if it is valid."""
    given = headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) and not given.startswith("ff") else None


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
