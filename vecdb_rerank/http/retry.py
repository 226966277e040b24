"""Retries: tenacity decides, a flow waits; nothing below it retries on its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import tenacity
from tenacity import DoAttempt, DoSleep

from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, wait

T = TypeVar("T")
# Conditions that may end by themselves (RFC 9110, RFC 8470), as any of 5xx may.
_TRANSIENT = {408, 409, 425, 429}


class ServiceError(VecdbRerankError):
    """A service did not answer as it should.

    ``transient`` says that a retry may help, ``retry_after`` after how many seconds the server
    wants it. ``request_rejected`` says that the server refused this request, which implies nothing
    about the next one. ``status`` is the HTTP status, if there was a response.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        retry_after: float | None = None,
        request_rejected: bool = False,
        status: int | None = None,
    ) -> None:
        self.transient = transient
        self.retry_after = retry_after
        self.request_rejected = request_rejected
        self.status = status
        super().__init__(message)


def is_transient(status: int) -> bool:
    """Return whether a request with this HTTP status is worth a retry."""
    return status in _TRANSIENT or 500 <= status < 600


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110), or None."""
    if header is None:
        return None
    try:
        return max(0.0, float(int(header.strip())))
    except OverflowError:
        return math.inf
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def within(deadline: Deadline, retries: int) -> tenacity.Retrying:
    """Allow ``retries`` retries, after full jitter or as long as the server asks.

    A wait that would outlast ``deadline`` is not begun: the error is raised at once.
    """
    jitter = tenacity.wait_random_exponential(multiplier=0.1, max=2.0)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ServiceError) else None
        return jitter(state) if asked is None else asked

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, ServiceError) and e.transient),
        wait=wait,
        stop=tenacity.stop_any(tenacity.stop_after_attempt(retries + 1), _Late(deadline)),
        reraise=True,
    )


class _Late(tenacity.stop.stop_base):
    """Stops if the next wait would outlast the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return retry_state.upcoming_sleep >= self._deadline.remaining()


def retry(attempt: Callable[[], Flow[T]], retrying: tenacity.Retrying) -> Flow[T]:
    """Make attempts as tenacity decides; waits are yielded like all other I/O."""
    retrying.begin()
    state = tenacity.RetryCallState(retrying, None, (), {})
    while True:
        do = retrying.iter(state)
        if isinstance(do, DoAttempt):
            try:
                result = yield from attempt()
            except Exception:
                state.set_exception(sys.exc_info())  # type: ignore[arg-type]  # never the empty tuple here
            else:
                state.set_result(result)
        elif isinstance(do, DoSleep):
            state.prepare_for_next_attempt()
            yield from wait(do)
        else:
            value: T = do
            return value
