"""Headers of a request that is being answered, sent on with the requests that it causes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Headers = list[tuple[bytes, bytes]]

_make: ContextVar[Callable[[], Mapping[str, str]] | None] = ContextVar("forwarded", default=None)


@contextmanager
def forwarding(make: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Send the headers that ``make`` returns with each request made in the block.

    ``make`` is called for each of them. Requests of its threads and tasks are included.
    """
    token = _make.set(make)
    try:
        yield
    finally:
        _make.reset(token)


def with_forwarded(headers: Headers) -> Headers:
    """Return ``headers`` and those to send on that are not among them."""
    if (make := _make.get()) is None:
        return headers
    own = {name.lower() for name, _ in headers}
    more = ((name.lower().encode(), value.encode()) for name, value in make().items())
    return [*headers, *(item for item in more if item[0] not in own)]
