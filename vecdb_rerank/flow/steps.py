"""The I/O that a flow may yield, as values."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """Call a database client: it answers with a value, or with an awaitable if it is async.

    ``timeout`` (seconds) is enforced on an event loop; a synchronous client cannot be
    interrupted and has to be given the time left as its own timeout.
    """

    run: Callable[[], Any]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Compute:
    """Run blocking work of our own: inline, or in a thread where it must not block or be late.

    With a finite ``timeout`` (seconds) a `TimeoutError` comes in time, whatever the work does.
    """

    run: Callable[[], Any]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Request:
    """Call a client of ours that exists in both colours; ``timeout`` as in `Call`."""

    run: Callable[[], Any]
    run_async: Callable[[], Awaitable[Any]]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep for ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Race:
    """Run the flow ``first``, and ``second`` beside it if it takes longer than ``after`` seconds.

    The first value wins and the other flow is cancelled; its error counts only where both fail.
    """

    first: Callable[[], Flow[Any]]
    second: Callable[[], Flow[Any]]
    after: float


@dataclass(frozen=True, slots=True)
class Together:
    """Run flows beside each other, some at a time; the values come in their order.

    Where one raises, the others are cancelled and its error comes.
    """

    flows: Sequence[Callable[[], Flow[Any]]]


# So many of `Together` at a time: enough to hide a server's latency, too few to drown it.
AT_ONCE = 8


Step = Call | Compute | Request | Wait | Race | Together


Flow = Generator[Step, Any, T]
