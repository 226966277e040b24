"""One queue before the model: pairs of all calls, packed together as they come.

A call hands in *jobs* of a few dozen pairs and has at most two of them in the queue, so that a
long call does not hold up a short one. A worker takes pairs from the front of the queue until a
batch is full, whosever they are. A job whose deadline has passed, or that nobody waits for any
more, is dropped and not computed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.torch_engine.memory import Budget

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.tokens import Pair

Run = Callable[[Sequence["Pair"]], Sequence[Any]]
Batch = list[tuple["Job", int]]
_LEAST = 512  # tokens; below, what a batch costs by itself outweighs sharing the work


class Job:
    """Pairs that wait for their logits, or vectors; ``scores`` has None where there is none yet."""

    def __init__(self, pairs: Sequence[Pair], deadline: Deadline) -> None:
        self.pairs = pairs
        self.deadline = deadline
        self.scores: list[Any] = [None] * len(pairs)
        self.open = list(range(len(pairs)))  # places that no worker has taken
        self.left = sum(pair.length for pair in pairs)  # their tokens
        self.error: Exception | None = None
        self._missing = len(pairs)
        self._over = threading.Event()

    @property
    def waiting(self) -> bool:
        """Whether anybody still wants what has not been computed."""
        return not self._over.is_set() and not self.deadline.expired

    def wait(self) -> None:
        """Until all is computed, or the deadline; raises what computing raised."""
        left = self.deadline.remaining()
        self._over.wait(min(left, threading.TIMEOUT_MAX))
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._over.set()

    def fail(self, error: Exception) -> None:
        """Computing raised an error."""
        self.error = error
        self._over.set()

    def take(self, place: int) -> None:
        """A worker computes the pair at ``place``; only under the queue's lock."""
        self.open.remove(place)
        self.left -= self.pairs[place].length

    def settle(self, place: int, value: Any) -> None:
        """The pair at ``place`` is computed; only workers call this, under the queue's lock."""
        self.scores[place] = value
        self._missing -= 1
        if not self._missing:
            self._over.set()


class Queue:
    """Jobs in order, and the workers that compute them.

    ``capacity`` is how many pairs may wait; `submit` blocks where that many do. ``workers`` take
    batches of at most the budget's tokens, and less where that leaves another worker idle; each
    begins with ``prepare``.
    """

    def __init__(
        self,
        run: Run,
        budget: Budget,
        *,
        workers: int = 1,
        capacity: int = 16_384,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._budget = budget
        self._prepare = prepare
        self._workers = workers
        self._capacity = capacity
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._busy = [threading.Lock() for _ in range(workers)]
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._begun: dict[int, tuple[int, float]] = {}  # tokens and time, by worker that computes
        self._speed = 0.0  # tokens per second of the last batches, 0 before the first

    def submit(self, job: Job) -> bool:
        """Put a job at the end; False where the deadline came before there was room for it."""
        with self._changed:
            while not self._closed and self._waiting() >= self._capacity:
                if job.deadline.expired:
                    return False
                self._changed.wait(min(job.deadline.remaining(), 1.0))
            if self._closed:
                raise RerankError("the reranker has been shut down")
            self._jobs.append(job)
            self._start()
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """Compute no more; what waits fails. Returns when the workers have ended."""
        with self._changed:
            self._closed = True
            jobs, threads = list(self._jobs), self._threads
            self._jobs.clear()
            self._changed.notify_all()
        for job in jobs:
            job.fail(RerankError("the reranker has been shut down"))
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def before_fork(self) -> None:
        """Let no batch be under way while the process forks."""
        for lock in self._busy:
            lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for lock in self._busy:
            lock.release()

    def _waiting(self) -> int:
        return sum(len(job.open) for job in self._jobs)

    def _start(self) -> None:
        while len(self._threads) < self._workers:
            lock = self._busy[len(self._threads)]
            thread = threading.Thread(
                target=self._work, args=(lock,), name="vecdb-rerank-engine", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _work(self, busy: threading.Lock) -> None:
        self._prepare()
        while batch := self._next():
            with busy:
                self._compute(batch)

    def _next(self) -> Batch:
        """The pairs to compute next; none when the queue is closed."""
        worker = threading.get_ident()
        with self._changed:
            self._begun.pop(worker, None)
            while True:
                if self._closed:
                    return []
                if batch := self._take():
                    tokens = sum(job.pairs[place].length for job, place in batch)
                    self._begun[worker] = (tokens, time.monotonic())
                    self._changed.notify_all()
                    return batch
                self._changed.wait()

    def _take(self) -> Batch:
        """Pairs from the front of the queue, to their share of the work; at least one.

        Where a long one would go far beyond the share, shorter ones of its call fill it.
        """
        self._drop()
        share, most = self._room()
        batch: Batch = []
        used = 0
        full = False
        while self._jobs and not full:
            job = self._jobs[0]
            for place in tuple(job.open):
                length = job.pairs[place].length
                over = used + length > share if full else used + length / 2 > share
                if not batch or (used + length <= most and not over):
                    batch.append((job, place))
                    job.take(place)
                    used += length
                elif share < most:
                    full = True
                else:  # time or memory is short: the first ones first
                    return batch
            self._drop()
        return batch

    def _drop(self) -> None:
        """Take jobs from the front that have nothing left, or that nobody waits for."""
        while self._jobs and not (self._jobs[0].open and self._jobs[0].waiting):
            self._jobs.popleft()

    def _room(self) -> tuple[float, float]:
        """Tokens for the next batch, about and at most.

        About an even share of all that waits or is computed: so workers that share a call end
        together. At most the budget, and half of what the first job has time for: a batch cannot
        be interrupted, so one that would outlive the deadline would leave that job with nothing.
        """
        most: float = self._budget.tokens
        waiting = sum(job.left for job in self._jobs)
        left = waiting + self._in_work()
        rounds = math.ceil(left / (self._workers * most))
        share = max(_LEAST, left / (self._workers * max(1, rounds))) if self._workers > 1 else most
        if waiting - share < _LEAST / 2:  # too little for a batch of its own
            share = waiting
        if self._jobs and self._speed:
            most = min(most, self._speed * self._jobs[0].deadline.remaining() / 2)
        return share, most

    def _in_work(self) -> float:
        """Tokens that workers have still to compute, by the speed of the last batches."""
        now = time.monotonic()
        return sum(
            max(0.0, tokens - (now - started) * self._speed)
            for tokens, started in self._begun.values()
        )

    def _compute(self, batch: Batch) -> None:
        pairs = [job.pairs[place] for job, place in batch]
        started = time.monotonic()
        try:
            logits = self._run(pairs)
        except Exception as error:
            self._failed(batch, error)
            return
        took = max(time.monotonic() - started, 1e-6)
        with self._changed:
            speed = sum(pair.length for pair in pairs) / took
            self._speed = speed if not self._speed else 0.7 * self._speed + 0.3 * speed
            for (job, place), logit in zip(batch, logits, strict=True):
                job.settle(place, logit)

    def _failed(self, batch: Batch, error: Exception) -> None:
        """The call that caused an error gets it; those that shared its batch are tried alone."""
        jobs = list(dict.fromkeys(job for job, _ in batch))
        if len(jobs) == 1:
            jobs[0].fail(error)
            return
        for job in jobs:
            self._compute([(one, place) for one, place in batch if one is job])
