"""Drive a flow: `run` in the calling thread, `run_async` on an event loop.

The logic of searching and ingesting is written once, as generators that yield I/O steps. The idea
is that of httpx's auth flows.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed, wait
from contextlib import suppress
from typing import TypeVar

from more_itertools import chunked

from vecdb_rerank.flow.steps import (
    AT_ONCE,
    Alongside,
    Call,
    Compute,
    Flow,
    Race,
    Request,
    Step,
    Together,
    Wait,
)
from vecdb_rerank.flow.threads import Abort, Aborted, current_abort, in_thread

T = TypeVar("T")


def run(flow: Flow[T]) -> T:
    """Run ``flow`` to its end in this thread and return its value."""
    try:
        step = next(flow)
        while True:
            if (abort := current_abort.get()) is not None and abort.aborted:
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
    """Run ``flow`` to its end on the running event loop and return its value."""
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


def _perform(step: Step) -> object:
    match step:
        case Wait(seconds):
            time.sleep(seconds)
            return None
        case Compute(work, timeout) if timeout < math.inf:
            return in_thread(work).result(timeout)
        case Race():
            return _race(step)
        case Together(flows):
            return [value for some in chunked(flows, AT_ONCE) for value in _together(some)]
        case Alongside(main, beside):
            return _alongside(main, beside)
        case Compute(work) | Call(work) | Request(work):
            return work()


async def _perform_async(step: Step) -> object:
    match step:
        case Wait(seconds):
            await asyncio.sleep(seconds)
            return None
        case Compute(work, timeout):
            future = asyncio.wrap_future(in_thread(work))
            return await asyncio.wait_for(future, _finite(timeout))
        case Race():
            return await _race_async(step)
        case Together(flows):
            return [v for some in chunked(flows, AT_ONCE) for v in await _together_async(some)]
        case Alongside(main, beside):
            return await _alongside_async(main, beside)
        case Request(_, work_async, timeout):
            return await asyncio.wait_for(work_async(), _finite(timeout))
        case Call(work, timeout):
            answer = work()
            if not inspect.isawaitable(answer):
                return answer
            return await asyncio.wait_for(answer, _finite(timeout))


def _race(race: Race) -> object:
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
    """A flow that runs in a separate thread."""

    def __init__(self, make: Callable[[], Flow[object]]) -> None:
        self.abort = Abort()

        def target() -> object:
            current_abort.set(self.abort)
            return run(make())

        self.future = in_thread(target)


async def _race_async(race: Race) -> object:
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
        if sys.exc_info()[0] is not GeneratorExit:  # after which nothing may be awaited
            await asyncio.gather(*tasks, return_exceptions=True)


def _together(flows: Sequence[Callable[[], Flow[object]]]) -> list[object]:
    if len(flows) == 1:
        return [run(flows[0]())]
    runners = [_Runner(make) for make in flows]
    try:
        return [runner.future.result() for runner in runners]
    finally:
        for runner in runners:
            runner.abort.abort()


async def _together_async(flows: Sequence[Callable[[], Flow[object]]]) -> list[object]:
    tasks = [asyncio.ensure_future(run_async(make())) for make in flows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _alongside(main: Callable[[], Flow[object]], beside: Callable[[], Flow[object]]) -> object:
    runner = _Runner(beside)
    try:
        value = run(main())
        return value, runner.future.result()
    finally:
        runner.abort.abort()


async def _alongside_async(
    main: Callable[[], Flow[object]], beside: Callable[[], Flow[object]]
) -> object:
    task = asyncio.ensure_future(run_async(beside()))
    try:
        value = await run_async(main())
        return value, await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _finite(timeout: float) -> float | None:
    return None if math.isinf(timeout) else timeout
