"""The deadline of the calls under way, as a context variable.

It is not an extension of the request, because SDKs between the caller and the socket pass no
extensions on; httpx does its I/O in the thread of the call, which can read the variable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from vecdb_rerank.flow.deadline import Deadline

_NONE = Deadline()
_deadline: ContextVar[Deadline] = ContextVar("deadline", default=_NONE)


def current() -> Deadline:
    """Return the deadline of the block."""
    return _deadline.get()


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """End calls made inside the block by ``deadline``, with an `httpx.TimeoutException`.

    Of nested blocks the sooner deadline applies.
    """
    token = _deadline.set(min(deadline, _deadline.get(), key=lambda each: each.ends_at))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(timeout: float | None, late: type[Exception]) -> float | None:
    """Return the seconds one operation may take; None without a limit."""
    remaining = _deadline.get().remaining()
    if remaining <= 0:
        raise late("the deadline has passed")
    if timeout is None:
        return None if math.isinf(remaining) else remaining
    return min(timeout, remaining)
