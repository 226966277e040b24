"""One queue for all calls: shared batches, fairness, deadlines, errors of single calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.tokenization.pairs import Pair
from vecdb_rerank.torch_engine.call_queue import CallQueue, Job
from vecdb_rerank.torch_engine.memory import TokenBudget

NEVER = Deadline()


def pair(number: int, length: int = 10) -> Pair:
    return Pair(np.array([number], np.int32), np.array([], np.int32), length, False)


def job(*numbers: int, length: int = 10, deadline: Deadline = NEVER) -> Job[float]:
    return Job([pair(number, length) for number in numbers], deadline)


class Model:
    """Halves numbers, one batch at a time; blocks until ``go`` is set."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        numbers = [int(one.query[0]) for one in pairs]
        self.batches.append(numbers)
        assert self.go.wait(10)
        if any(number < 0 for number in numbers):
            raise ValueError("a number below 0")
        return [number / 2 for number in numbers]


class Slow(Model):
    """Takes 10 ms per pair."""

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        time.sleep(0.01 * len(pairs))
        return super().__call__(pairs)


def held() -> tuple[Model, CallQueue[float]]:
    """Return a queue with a worker that is blocked at the pair 0."""
    model = Model(held=True)
    queue = CallQueue(model, TokenBudget(100))
    assert queue.submit(job(0))
    while not model.batches:
        time.sleep(0.001)
    return model, queue


def test_a_job_gets_its_own_numbers_in_its_order() -> None:
    queue = CallQueue(Model(), TokenBudget(35))
    mine = job(*range(20))
    assert queue.submit(mine)
    mine.wait()
    assert mine.results == [number / 2 for number in range(20)]
    queue.close()


def test_pairs_of_several_calls_share_a_batch_in_the_order_of_the_queue() -> None:
    model, queue = held()
    jobs = [job(1, 2, 3), job(4, 5), job(*range(6, 20))]
    for one in jobs:
        queue.submit(one)
    model.go.set()
    for one in jobs:
        one.wait()
    assert model.batches == [[0], list(range(1, 11)), list(range(11, 20))]
    queue.close()


def test_a_pair_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    model, queue = held()
    long, short = job(1, length=5_000), job(2)
    queue.submit(long)
    queue.submit(short)
    model.go.set()
    short.wait()
    assert model.batches == [[0], [1], [2]]
    queue.close()


def test_a_job_whose_deadline_has_passed_is_not_computed() -> None:
    model, queue = held()
    late, fine = job(1, deadline=Deadline.after(0.01)), job(2)
    queue.submit(late)
    queue.submit(fine)
    late.wait()
    assert late.results == [None]
    model.go.set()
    fine.wait()
    assert model.batches == [[0], [2]]
    queue.close()


def test_a_cancelled_job_is_not_computed() -> None:
    model, queue = held()
    mine, other = job(1), job(2)
    queue.submit(mine)
    queue.submit(other)
    mine.cancel()
    mine.wait()
    model.go.set()
    other.wait()
    assert model.batches == [[0], [2]]
    queue.close()


def test_waiting_ends_at_the_deadline_whatever_the_model_does() -> None:
    model, queue = held()
    started = time.monotonic()
    mine = job(1, deadline=Deadline.after(0.05))
    queue.submit(mine)
    mine.wait()
    assert time.monotonic() - started < 5
    assert mine.results == [None]
    model.go.set()
    queue.close()


def test_batches_are_small_when_the_job_at_the_front_has_little_time() -> None:
    model = Slow()
    queue = CallQueue(model, TokenBudget(100_000))
    known = job(*range(20))
    queue.submit(known)
    known.wait()
    urgent = job(*range(1_000), deadline=Deadline.after(0.5))
    queue.submit(urgent)
    urgent.wait()
    scored = [score is not None for score in urgent.results]
    assert scored[:5] == [True] * 5
    assert scored == sorted(scored, reverse=True)  # the first ones
    queue.close()


def test_an_error_is_raised_in_the_call_that_caused_it_alone() -> None:
    model, queue = held()
    fine, bad, other = job(1), job(-1), job(2)
    for one in (fine, bad, other):
        queue.submit(one)
    model.go.set()
    fine.wait()
    other.wait()
    with pytest.raises(ValueError, match="below 0"):
        bad.wait()
    assert (fine.results, other.results) == ([0.5], [1.0])
    queue.close()


def test_a_full_queue_makes_callers_wait_and_then_gives_up() -> None:
    model, queue = held()
    queue._capacity = 3
    assert queue.submit(job(1, 2, 3))
    assert not queue.submit(job(4, deadline=Deadline.after(0.05)))
    last = job(5)
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(queue.submit, last)
        time.sleep(0.02)
        assert not submitted.done()
        model.go.set()
        assert submitted.result(10)
    last.wait()
    assert last.results == [2.5]
    queue.close()


def test_closing_fails_what_waits_and_refuses_what_comes() -> None:
    model, queue = held()
    waits = job(1)
    queue.submit(waits)
    model.go.set()
    queue.close()
    try:
        waits.wait()
    except RerankError as error:
        assert "shut down" in str(error)
    else:  # it was computed before
        assert waits.results == [0.5]
    with pytest.raises(RerankError, match="shut down"):
        queue.submit(job(2))


def test_many_threads_and_workers_get_their_own_numbers() -> None:
    queue = CallQueue(Model(), TokenBudget(64), workers=3)

    def ask(start: int) -> bool:
        mine = job(*range(start, start + 30))
        assert queue.submit(mine)
        mine.wait()
        return mine.results == [number / 2 for number in range(start, start + 30)]

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(0, 64_000, 100)))
    queue.close()


def test_workers_finish_a_call_together() -> None:
    model = Slow()
    queue = CallQueue(model, TokenBudget(2_048), workers=2)
    mine = job(*range(50), length=100)
    assert queue.submit(mine)
    mine.wait()
    sizes = sorted(map(len, model.batches))
    assert max(sizes) <= 13 and len(sizes) <= 5  # four even ones, with some tolerance
    queue.close()


def test_a_running_batch_counts_as_share_of_its_worker() -> None:
    model = Model(held=True)
    queue = CallQueue(model, TokenBudget(2_048), workers=2)
    for taken, one in enumerate((job(*range(5), length=100), job(*range(20), length=100)), start=1):
        assert queue.submit(one)
        while len(model.batches) < taken:
            time.sleep(0.001)
    assert list(map(len, model.batches)) == [5, 13]  # 7 remain for the worker that has 5
    model.go.set()
    one.wait()
    queue.close()
