"""One queue before the model: pairs of all calls are batched together in the order they come.

A call submits *jobs* of a few dozen pairs and has at most two of them in the queue, so that a long
call does not delay a short one. A worker takes pairs from the front of the queue until a batch is
full, whichever calls they belong to. Jobs that are cancelled or past their deadline are dropped.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.torch_engine.memory import TokenBudget

if TYPE_CHECKING:
    from vecdb_rerank.tokenization.pairs import Pair

R = TypeVar("R")  # a logit, or the vectors of a text
Batch: TypeAlias = "list[tuple[Job[R], int]]"
_MIN_BATCH_TOKENS = 512  # below, the fixed cost of a batch outweighs sharing the work
_SPEED_SMOOTHING = 0.7  # weight of the earlier batches in the average speed


class Job(Generic[R]):
    """Pairs of one call and their results; ``results`` has None for what is not computed yet."""

    def __init__(self, pairs: Sequence[Pair], deadline: Deadline) -> None:
        self.pairs = pairs
        self.deadline = deadline
        self.results: list[R | None] = [None] * len(pairs)
        self.pending = list(range(len(pairs)))  # indices of the pairs that no worker has taken
        self.pending_tokens = sum(pair.length for pair in pairs)
        self.error: Exception | None = None
        self._missing = len(pairs)
        self._done = threading.Event()

    @property
    def active(self) -> bool:
        """Whether the results that are missing are still wanted."""
        return not self._done.is_set() and not self.deadline.expired

    def wait(self) -> None:
        """Wait for all results or the deadline; raise the error of the computation."""
        self._done.wait(min(self.deadline.remaining(), threading.TIMEOUT_MAX))
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        """Compute no more of this job."""
        self._done.set()

    def fail(self, error: Exception) -> None:
        """End the job with the error of its computation."""
        self.error = error
        self._done.set()

    def take(self, index: int) -> None:
        """Give the pair at ``index`` to a worker. Call it with the queue's lock held."""
        self.pending.remove(index)
        self.pending_tokens -= self.pairs[index].length

    def set_result(self, index: int, value: R) -> None:
        """Store the result of the pair at ``index``. Call it with the queue's lock held."""
        self.results[index] = value
        self._missing -= 1
        if not self._missing:
            self._done.set()


class CallQueue(Generic[R]):
    """Jobs in order, and the threads that compute them.

    ``run`` computes a batch. At most ``capacity`` pairs wait; `submit` blocks while there are more.
    ``workers`` threads take batches within the token budget, and smaller ones if that keeps
    another worker busy. Each thread calls ``prepare`` first.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Pair]], Sequence[R]],
        budget: TokenBudget,
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
        self._jobs: deque[Job[R]] = deque()
        self._changed = threading.Condition()
        self._computing = [threading.Lock() for _ in range(workers)]
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._running: dict[int, tuple[int, float]] = {}  # tokens and start of each worker's batch
        self._speed = 0.0  # tokens per second of the last batches, 0 before the first

    def submit(self, job: Job[R]) -> bool:
        """Append a job; return False if its deadline passed while the queue was full."""
        with self._changed:
            while not self._closed and self._pending_pairs() >= self._capacity:
                if job.deadline.expired:
                    return False
                self._changed.wait(min(job.deadline.remaining(), 1.0))
            if self._closed:
                raise RerankError("the reranker has been shut down")
            self._jobs.append(job)
            self._start_threads()
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """Fail the waiting jobs and wait for the threads to end."""
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
        """Wait until no batch is being computed, and start none."""
        for lock in self._computing:
            lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Continue."""
        for lock in self._computing:
            lock.release()

    def _pending_pairs(self) -> int:
        return sum(len(job.pending) for job in self._jobs)

    def _start_threads(self) -> None:
        while len(self._threads) < self._workers:
            lock = self._computing[len(self._threads)]
            thread = threading.Thread(
                target=self._work, args=(lock,), name="vecdb-rerank-engine", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _work(self, computing: threading.Lock) -> None:
        self._prepare()
        while batch := self._next_batch():
            with computing:
                self._compute(batch)

    def _next_batch(self) -> Batch[R]:
        """Wait for pairs to compute; return none when the queue is closed."""
        worker = threading.get_ident()
        with self._changed:
            self._running.pop(worker, None)
            while True:
                if self._closed:
                    return []
                if batch := self._take_batch():
                    tokens = sum(job.pairs[index].length for job, index in batch)
                    self._running[worker] = (tokens, time.monotonic())
                    self._changed.notify_all()
                    return batch
                self._changed.wait()

    def _take_batch(self) -> Batch[R]:
        """Take pairs from the front of the queue up to the batch size, at least one.

        If a long pair would exceed the size by far, shorter ones of its job fill the batch.
        """
        self._drop_finished()
        target, limit = self._batch_size()
        batch: Batch[R] = []
        used = 0
        full = False
        while self._jobs and not full:
            job = self._jobs[0]
            for index in tuple(job.pending):
                length = job.pairs[index].length
                exceeds = used + length > target if full else used + length / 2 > target
                if not batch or (used + length <= limit and not exceeds):
                    batch.append((job, index))
                    job.take(index)
                    used += length
                elif target < limit:
                    full = True
                else:  # time or memory is short: keep the order
                    return batch
            self._drop_finished()
        return batch

    def _drop_finished(self) -> None:
        """Remove jobs from the front that have no pending pairs or are not active."""
        while self._jobs and not (self._jobs[0].pending and self._jobs[0].active):
            self._jobs.popleft()

    def _batch_size(self) -> tuple[float, float]:
        """Return the target and the limit of the next batch, in tokens.

        The target is an even share of all that waits or is being computed, so that the workers of
        one call finish together. The limit is the budget, and half of what the first job has time
        for: a batch cannot be interrupted, and one that ends after the deadline is wasted.
        """
        limit: float = self._budget.tokens
        waiting = sum(job.pending_tokens for job in self._jobs)
        remaining = waiting + self._running_tokens()
        rounds = math.ceil(remaining / (self._workers * limit))
        target = limit
        if self._workers > 1:
            target = max(_MIN_BATCH_TOKENS, remaining / (self._workers * max(1, rounds)))
        if waiting - target < _MIN_BATCH_TOKENS / 2:  # too little for another batch
            target = waiting
        if self._jobs and self._speed:
            limit = min(limit, self._speed * self._jobs[0].deadline.remaining() / 2)
        return target, limit

    def _running_tokens(self) -> float:
        """Estimate how many tokens the workers have still to compute."""
        now = time.monotonic()
        return sum(
            max(0.0, tokens - (now - started) * self._speed)
            for tokens, started in self._running.values()
        )

    def _compute(self, batch: Batch[R]) -> None:
        pairs = [job.pairs[index] for job, index in batch]
        started = time.monotonic()
        try:
            results = self._run(pairs)
        except Exception as error:
            self._fail(batch, error)
            return
        seconds = max(time.monotonic() - started, 1e-6)
        with self._changed:
            speed = sum(pair.length for pair in pairs) / seconds
            if self._speed:
                speed = _SPEED_SMOOTHING * self._speed + (1 - _SPEED_SMOOTHING) * speed
            self._speed = speed
            for (job, index), result in zip(batch, results, strict=True):
                job.set_result(index, result)

    def _fail(self, batch: Batch[R], error: Exception) -> None:
        """Fail the job that caused an error; compute jobs that shared a batch one by one."""
        jobs = list(dict.fromkeys(job for job, _ in batch))
        if len(jobs) == 1:
            jobs[0].fail(error)
            return
        for job in jobs:
            self._compute([(owner, index) for owner, index in batch if owner is job])
