"""The I/O steps that a flow yields, and typed helpers that yield one and return its result.

::

    def first_point(client) -> Flow[Record]:
        points = yield from call(lambda: client.retrieve("docs", [1]))
        return points[0]
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Call:
    """Call a database client; an asynchronous client's awaitable is awaited.

    ``timeout`` (seconds) is enforced on an event loop. A synchronous call cannot be interrupted:
    give the client the time left as its own timeout.
    """

    run: Callable[[], object]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Compute:
    """Run blocking work: inline, or in a thread if there is an event loop or a ``timeout``.

    With a finite ``timeout`` (seconds), `TimeoutError` is raised in time whatever the work does.
    """

    run: Callable[[], object]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Request:
    """Call a client that has a synchronous and an asynchronous form; ``timeout`` as in `Call`."""

    run: Callable[[], object]
    run_async: Callable[[], Awaitable[object]]
    timeout: float = math.inf


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep for ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Race:
    """Run the flow ``first``; start ``second`` beside it after ``after`` seconds.

    The first value wins, and the other flow is cancelled. If both fail, the error is the first's.
    """

    first: Callable[[], Flow[object]]
    second: Callable[[], Flow[object]]
    after: float


@dataclass(frozen=True, slots=True)
class Together:
    """Run several flows concurrently, at most `AT_ONCE` at a time.

    The result lists their values in the given order. If one raises, the others are cancelled.
    """

    flows: Sequence[Callable[[], Flow[object]]]


@dataclass(frozen=True, slots=True)
class Alongside:
    """Run the flow ``main`` here, and ``beside`` in another thread or task; both values result.

    An error of ``main`` cancels ``beside`` and is raised. An error of ``beside`` is raised once
    ``main`` has ended.
    """

    main: Callable[[], Flow[object]]
    beside: Callable[[], Flow[object]]


AT_ONCE = 8
"""Concurrent flows of `Together`: enough to hide a server's latency without flooding it."""

Step = Call | Compute | Request | Wait | Race | Together | Alongside
Flow = Generator[Step, Any, T]  # what is sent in is the result of the step: any type


@overload
def call(run: Callable[[], Awaitable[T]], timeout: float = ...) -> Flow[T]: ...
@overload
def call(run: Callable[[], T | Awaitable[T]], timeout: float = ...) -> Flow[T]: ...
def call(run: Callable[[], T | Awaitable[T]], timeout: float = math.inf) -> Flow[T]:
    """Yield a `Call` and return what the client returned."""
    result: T = yield Call(run, timeout)
    return result


def compute(run: Callable[[], T], timeout: float = math.inf) -> Flow[T]:
    """Yield a `Compute` and return the result of the work."""
    result: T = yield Compute(run, timeout)
    return result


def request(
    run: Callable[[], T], run_async: Callable[[], Awaitable[T]], timeout: float = math.inf
) -> Flow[T]:
    """Yield a `Request` and return what the client returned."""
    result: T = yield Request(run, run_async, timeout)
    return result


def wait(seconds: float) -> Flow[None]:
    """Yield a `Wait`."""
    yield Wait(seconds)


def race(first: Callable[[], Flow[T]], second: Callable[[], Flow[T]], after: float) -> Flow[T]:
    """Yield a `Race` and return the value of the flow that won."""
    result: T = yield Race(first, second, after)
    return result


def together(flows: Sequence[Callable[[], Flow[T]]]) -> Flow[list[T]]:
    """Yield a `Together` and return the values in the order of ``flows``."""
    result: list[T] = yield Together(flows)
    return result


def alongside(main: Callable[[], Flow[T]], beside: Callable[[], Flow[S]]) -> Flow[tuple[T, S]]:
    """Yield an `Alongside` and return the values of both flows."""
    result: tuple[T, S] = yield Alongside(main, beside)
    return result
