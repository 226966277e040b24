"""Flows, driven in the calling thread and on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import (
    AT_ONCE,
    Alongside,
    Call,
    Compute,
    Flow,
    Step,
    Together,
    Wait,
    alongside,
    call,
    compute,
    race,
    request,
    together,
    wait,
)

Drive = Callable[[Flow[Any]], Any]


def drive_async(flow: Flow[Any]) -> Any:
    return asyncio.run(run_async(flow))


DRIVERS = pytest.mark.parametrize("drive", [run, drive_async], ids=["sync", "async"])


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    """Work that does not end before the test does."""
    released = threading.Event()
    yield lambda: void(released.wait(60))
    released.set()


def void(_value: object) -> None:
    return None


def one(step: Step) -> Flow[Any]:
    return (yield step)


def caught(step: Step) -> Flow[str]:
    """What a flow sees of a failing step."""
    try:
        yield step
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def fail() -> None:
    raise LookupError("nothing there")


@DRIVERS
def test_a_flow_gets_the_result_of_each_step_and_returns_its_own_value(drive: Drive) -> None:
    def flow() -> Flow[list[Any]]:
        called = yield Call(lambda: 1)
        computed = yield Compute(lambda: called + 1)
        watched = yield Compute(lambda: computed + 1, timeout=30)
        waited = yield Wait(0.001)
        return [called, computed, watched, waited]

    assert drive(flow()) == [1, 2, 3, None]


@DRIVERS
def test_a_flow_without_steps_returns_its_value(drive: Drive) -> None:
    def flow() -> Flow[str]:
        yield from ()
        return "done"

    assert drive(flow()) == "done"


@DRIVERS
@pytest.mark.parametrize(
    "step", [Call(fail), Compute(fail), Compute(fail, timeout=30)], ids=["call", "work", "watched"]
)
def test_an_error_is_thrown_into_the_flow_where_the_step_was_yielded(
    drive: Drive, step: Step
) -> None:
    assert drive(caught(step)) == "LookupError: nothing there"


@DRIVERS
def test_an_error_that_the_flow_does_not_handle_reaches_the_caller(drive: Drive) -> None:
    with pytest.raises(LookupError, match="nothing there"):
        drive(one(Call(fail)))


@DRIVERS
def test_a_flow_goes_on_after_an_error_it_handled(drive: Drive) -> None:
    def flow() -> Flow[int]:
        try:
            yield Call(fail)
        except LookupError:
            return (yield Call(lambda: 7))
        return 0

    assert drive(flow()) == 7


@DRIVERS
def test_an_error_that_the_flow_raises_itself_reaches_the_caller(drive: Drive) -> None:
    def flow() -> Flow[None]:
        yield Call(lambda: None)
        raise LookupError("by the flow")

    with pytest.raises(LookupError, match="by the flow"):
        drive(flow())


@DRIVERS
def test_work_that_hangs_raises_a_timeout_error_in_time(
    drive: Drive, hang: Callable[[], None]
) -> None:
    started = time.monotonic()
    assert drive(caught(Compute(hang, timeout=0.05))).startswith("TimeoutError")
    assert time.monotonic() - started < 20


@DRIVERS
def test_hanging_work_does_not_starve_later_work(drive: Drive, hang: Callable[[], None]) -> None:
    def flow() -> Flow[list[str]]:
        for _ in range(40):  # more than any shared pool of this machine would have threads
            yield from caught(Compute(hang, timeout=0.001))
        return [(yield Compute(lambda: "served", timeout=30))]

    assert drive(flow()) == ["served"]


@DRIVERS
def test_stop_iteration_in_the_work_is_an_error_and_not_a_hang(drive: Drive) -> None:
    # asyncio's futures refuse to carry a StopIteration: unhandled, an event loop waits for ever.
    nothing: Iterator[int] = iter(())
    answer = drive(caught(Compute(lambda: next(nothing), timeout=30)))
    assert answer.startswith(("StopIteration", "RuntimeError"))


@DRIVERS
def test_context_variables_are_visible_in_work(drive: Drive) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    def flow() -> Flow[list[str]]:
        inline = yield Compute(variable.get)
        watched = yield Compute(variable.get, timeout=30)
        return [inline, watched]

    token = variable.set("set by the caller")
    try:
        assert drive(flow()) == ["set by the caller"] * 2
    finally:
        variable.reset(token)


@DRIVERS
@pytest.mark.parametrize("timeout", [float("inf"), 30])
def test_the_flow_itself_runs_in_the_caller_and_closes_its_blocks(
    drive: Drive, timeout: float
) -> None:
    closed: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield Compute(fail, timeout)
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(LookupError):
        drive(flow())
    assert closed == [threading.current_thread().name]


def test_an_interrupt_closes_the_flow_and_is_not_thrown_into_it() -> None:
    seen: list[str] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    def flow() -> Flow[None]:
        try:
            yield Call(interrupted)
        except Exception:
            seen.append("handled")
        finally:
            seen.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run(flow())
    assert seen == ["closed"]


async def test_cancelling_the_task_closes_the_flow() -> None:
    seen: list[str] = []
    started = asyncio.Event()

    def flow() -> Flow[None]:
        try:
            yield Call(started.set)
            yield Wait(60)
        except Exception:
            seen.append("handled")
        finally:
            seen.append("closed")

    task = asyncio.create_task(run_async(flow()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["closed"]


async def test_cancelling_the_task_while_work_runs_closes_the_flow(
    hang: Callable[[], None],
) -> None:
    seen: list[str] = []
    started = threading.Event()

    def work() -> None:
        started.set()
        hang()

    def flow() -> Flow[None]:
        try:
            yield Compute(work)
        finally:
            seen.append("closed")

    task = asyncio.create_task(run_async(flow()))
    while not started.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["closed"]


async def test_an_async_client_is_awaited() -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return "awaited"

    assert await run_async(one(Call(answer))) == "awaited"


async def test_an_async_client_that_hangs_is_timed_out() -> None:
    async def answer() -> None:
        await asyncio.sleep(60)

    assert (await run_async(caught(Call(answer, timeout=0.01)))).startswith("TimeoutError")


async def test_work_does_not_block_the_event_loop() -> None:
    ticked = threading.Event()

    async def tick() -> None:
        ticked.set()

    # The work only ends because the loop goes on meanwhile.
    flow = run_async(one(Compute(lambda: ticked.wait(30))))
    answer, _ = await asyncio.gather(flow, tick())
    assert answer is True


# -- flows beside each other


@DRIVERS
def test_flows_run_together_and_their_values_keep_the_order(drive: Drive) -> None:
    meet = threading.Barrier(AT_ONCE)  # in threads; on a loop, all of them are waiting at once
    waiting: list[int] = []

    def work(n: int) -> Flow[int]:
        waiting.append(n)
        if drive is run:
            meet.wait(30)
        yield Wait(0.001 * (AT_ONCE - n))
        return n

    flows = [lambda n=n: work(n) for n in range(AT_ONCE)]
    assert drive(one(Together(flows))) == list(range(AT_ONCE))
    assert sorted(waiting) == list(range(AT_ONCE))


@DRIVERS
def test_more_flows_than_run_at_once_all_run(drive: Drive) -> None:
    flows = [lambda n=n: one(Compute(lambda: n)) for n in range(3 * AT_ONCE + 1)]
    assert drive(one(Together(flows))) == list(range(3 * AT_ONCE + 1))
    assert drive(one(Together([]))) == []


@DRIVERS
def test_an_error_of_one_of_several_flows_comes(drive: Drive) -> None:
    def fail() -> Flow[None]:
        yield Wait(0)
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        drive(one(Together([lambda: one(Wait(0)), fail])))


async def test_cancelling_cancels_all_flows_that_run_together() -> None:
    ended = []

    def work(n: int) -> Flow[None]:
        try:
            yield Wait(60)
        finally:
            ended.append(n)

    task = asyncio.ensure_future(run_async(one(Together([lambda: work(1), lambda: work(2)]))))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]


# -- one flow alongside another


@DRIVERS
def test_the_main_flow_runs_in_the_callers_thread_and_beside_it_the_other(drive: Drive) -> None:
    both = threading.Barrier(2)

    def meet(wait_seconds: float) -> Flow[int]:
        yield Wait(wait_seconds)
        yield Compute(lambda: both.wait(10))
        return threading.get_ident()

    def flow() -> Flow[tuple[int, int]]:
        return (yield from alongside(lambda: meet(0.01), lambda: meet(0)))

    main, _ = drive(flow())
    assert main == threading.get_ident()


@DRIVERS
def test_an_error_beside_is_raised_when_the_main_flow_has_ended(drive: Drive) -> None:
    ended = []

    def main() -> Flow[None]:
        yield Wait(0.05)
        ended.append("main")

    def fail() -> Flow[None]:
        yield Wait(0)
        raise LookupError("beside")

    with pytest.raises(LookupError, match="beside"):
        drive(one(Alongside(main, fail)))
    assert ended == ["main"]


@DRIVERS
def test_an_error_of_the_main_flow_cancels_the_other(drive: Drive) -> None:
    ended = threading.Event()

    def beside() -> Flow[None]:
        try:
            while True:
                yield Wait(0.01)
        finally:
            ended.set()

    def fail() -> Flow[None]:
        yield Wait(0.05)
        raise LookupError("main")

    with pytest.raises(LookupError, match="main"):
        drive(one(Alongside(fail, beside)))
    assert ended.wait(10)


async def test_cancelling_cancels_both_flows() -> None:
    ended = []

    def work(n: int) -> Flow[None]:
        try:
            yield Wait(60)
        finally:
            ended.append(n)

    task = asyncio.ensure_future(run_async(one(Alongside(lambda: work(1), lambda: work(2)))))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]


def test_a_model_that_still_loads_does_not_abort_the_process_that_ends() -> None:
    """Native code in an abandoned thread, as after a deadline."""
    code = (
        "from vecdb_rerank.embedders.onnx import OnnxEmbedder\n"
        "from vecdb_rerank.flow.drivers import run\n"
        "from vecdb_rerank.flow.steps import Compute\n"
        "def search():\n"
        "    yield Compute(lambda: OnnxEmbedder().embed_query('cold'), 0.01)\n"
        "try:\n    run(search())\nexcept TimeoutError:\n    pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")


# -- helpers that return what their step gave


@DRIVERS
def test_each_helper_returns_the_result_of_its_step(drive: Drive) -> None:
    async def later() -> str:
        return "requested"

    def flow() -> Flow[list[object]]:
        yield from wait(0)
        return [
            (yield from call(lambda: "called")),
            (yield from compute(lambda: "computed")),
            (yield from request(lambda: "requested", later)),
            (yield from race(lambda: one(Call(lambda: "won")), lambda: one(Wait(60)), 60)),
            (yield from together([lambda: one(Call(lambda: "a"))])),
            (yield from alongside(lambda: one(Wait(0)), lambda: one(Call(lambda: "b")))),
        ]

    assert drive(flow()) == ["called", "computed", "requested", "won", ["a"], (None, "b")]


async def test_a_call_awaits_what_an_asynchronous_client_returns() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    assert await run_async(call(answer)) == 7


# -- the interpreter's end


def ended(code: str) -> tuple[int, str]:
    """The exit code and the errors of a Python that runs ``code``."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    return done.returncode, done.stderr


def test_threads_that_start_work_while_the_interpreter_ends_cause_no_error() -> None:
    code = """
import threading, time
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import compute

def search():
    while True:
        run(compute(lambda: time.sleep(0.0005), timeout=5))

for _ in range(32):
    threading.Thread(target=search, daemon=True).start()
time.sleep(0.05)
"""
    assert ended(code) == (0, "")


def test_a_thread_that_could_not_be_started_is_not_waited_for() -> None:
    """Starting one fails if the system has no thread left, or the interpreter ends."""
    code = """
import threading
from vecdb_rerank.flow.threads import in_thread

kept = []

def fail(self):
    kept.append(self)
    raise RuntimeError("can't start new thread")

start, threading.Thread.start = threading.Thread.start, fail
try:
    in_thread(print)
except RuntimeError:
    threading.Thread.start = start
    in_thread(lambda: None).result(5)
"""
    assert ended(code) == (0, "")


def test_the_end_waits_for_work_that_runs() -> None:
    code = """
import time
from vecdb_rerank.flow.threads import in_thread

in_thread(lambda: (time.sleep(0.3), open(1, "w", closefd=False).write("done")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done", "")
