"""Colourless control flow: a generator yields the I/O it wants, a driver does it.

The logic of searching and ingesting is written once, as generators; `run` drives one in the
calling thread, `run_async` on an event loop. The idea is that of httpx's auth flows.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from more_itertools import chunked

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


def run(flow: Flow[T]) -> T:
    """Drive ``flow`` to its end in this thread and return its value."""
    try:
        step = next(flow)
        while True:
            if (abort := _abort.get()) is not None and abort.aborted:
                raise Aborted
            try:
                result = _perform(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        flow.close()


async def run_async(flow: Flow[T]) -> T:
    """Drive ``flow`` to its end on the running event loop and return its value."""
    try:
        step = next(flow)
        while True:
            try:
                result = await _perform_async(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        flow.close()


def _perform(step: Step) -> Any:
    match step:
        case Wait(seconds):
            return time.sleep(seconds)
        case Compute(work, timeout) if timeout < math.inf:
            return in_thread(work).result(timeout)
        case Race():
            return _race(step)
        case Together(flows):
            return [value for some in chunked(flows, AT_ONCE) for value in _together(some)]
        case Compute(work) | Call(work) | Request(work):
            return work()


async def _perform_async(step: Step) -> Any:
    match step:
        case Wait(seconds):
            return await asyncio.sleep(seconds)
        case Compute(work, timeout):
            future = asyncio.wrap_future(in_thread(work))
            return await asyncio.wait_for(future, _finite(timeout))
        case Race():
            return await _race_async(step)
        case Together(flows):
            return [v for some in chunked(flows, AT_ONCE) for v in await _together_async(some)]
        case Request(_, work_async, timeout):
            return await asyncio.wait_for(work_async(), _finite(timeout))
        case Call(work, timeout):
            answer = work()
            if not inspect.isawaitable(answer):
                return answer
            return await asyncio.wait_for(answer, _finite(timeout))


class Aborted(Exception):
    """Nobody waits for the result of this thread any more."""


class Abort:
    """Ends what a thread waits for, from another thread."""

    def __init__(self) -> None:
        self.aborted = False
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def abort(self) -> None:
        """End the current wait, and let no other begin."""
        with self._lock:
            self.aborted = True
            if self._end is not None:
                self._end()

    @contextmanager
    def waiting(self, end: Callable[[], None]) -> Iterator[None]:
        """The block waits for something that ``end`` ends."""
        with self._lock:
            if self.aborted:
                raise Aborted
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None


_abort: contextvars.ContextVar[Abort | None] = contextvars.ContextVar("abort", default=None)


def abortable(end: Callable[[], None]) -> AbstractContextManager[None]:
    """A block that waits for what ``end`` ends, where the running thread may be aborted."""
    abort = _abort.get()
    return nullcontext() if abort is None else abort.waiting(end)


def _race(race: Race) -> Any:
    first, *_ = runners = [_Runner(race.first)]
    try:
        wait([first.future], race.after)
        if not first.future.done():
            runners.append(_Runner(race.second))
        for future in as_completed([runner.future for runner in runners]):
            if future.exception() is None:
                return future.result()
        return first.future.result()
    finally:
        for runner in runners:
            runner.abort.abort()


class _Runner:
    """A flow in a thread of its own."""

    def __init__(self, make: Callable[[], Flow[Any]]) -> None:
        self.abort = Abort()

        def target() -> Any:
            _abort.set(self.abort)
            return run(make())

        self.future = in_thread(target)


async def _race_async(race: Race) -> Any:
    first = asyncio.ensure_future(run_async(race.first()))
    tasks = [first]
    try:
        await asyncio.wait(tasks, timeout=race.after)
        if not first.done():
            tasks.append(asyncio.ensure_future(run_async(race.second())))
        for task in asyncio.as_completed(tasks):
            with suppress(Exception):
                return await task
        return first.result()
    finally:
        for task in tasks:
            task.cancel()
        if sys.exc_info()[0] is not GeneratorExit:  # which allows no more waiting
            await asyncio.gather(*tasks, return_exceptions=True)


def _together(flows: Sequence[Callable[[], Flow[Any]]]) -> list[Any]:
    if len(flows) == 1:
        return [run(flows[0]())]
    runners = [_Runner(make) for make in flows]
    try:
        return [runner.future.result() for runner in runners]
    finally:
        for runner in runners:
            runner.abort.abort()


async def _together_async(flows: Sequence[Callable[[], Flow[Any]]]) -> list[Any]:
    tasks = [asyncio.ensure_future(run_async(make())) for make in flows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _finite(timeout: float) -> float | None:
    return None if math.isinf(timeout) else timeout


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a thread of its own: work that hangs must not starve a shared pool."""
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def target() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(context.run(work))
        except (StopIteration, SystemExit, GeneratorExit, asyncio.CancelledError) as error:
            # asyncio cannot carry the first, and the others would end who only waits for the work.
            stopped = RuntimeError(f"the work raised {type(error).__name__}")
            stopped.__cause__ = error
            future.set_exception(stopped)
        except BaseException as error:  # handed to the waiting side, whatever it is
            future.set_exception(error)

    thread = threading.Thread(target=target, name="vecdb-rerank", daemon=True)
    _abandoned.add(thread)
    thread.start()
    return future


# Threads that may outlive the wait for them. The interpreter's end would kill one in the middle of
# native code (a model that loads), and the process with it; one that hangs must not hold it up.
_abandoned: WeakSet[threading.Thread] = WeakSet()
_AT_EXIT = 5.0  # seconds


@atexit.register
def _let_end() -> None:
    until = time.monotonic() + _AT_EXIT
    for thread in list(_abandoned):
        thread.join(max(0.0, until - time.monotonic()))
