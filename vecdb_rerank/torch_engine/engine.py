"""An engine loads one model and scores for all calls of a process, also after a fork."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from vecdb_rerank._optional import require
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.tokenization.notes import query_notes
from vecdb_rerank.torch_engine import fork_guard
from vecdb_rerank.torch_engine.call_queue import CallQueue, Job
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest
from vecdb_rerank.torch_engine.spec import LIBRARIES, Spec

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.runner import LogitRunner, Runner

R = TypeVar("R")  # what the model returns for a pair: a logit, or the vectors of a text
_WARMUP_WORDS = (8, 60, 250, 1_000)  # of the documents, about as many tokens
_JOB_PAIRS = 64
_JOB_CHARACTERS = 200_000  # tokenized at once, between two checks of the deadline
_JOBS_IN_QUEUE = 2  # of one call: one is computed while the next one waits
_LOGIT_BYTES = 60  # of a cached logit with its flags


@dataclass(frozen=True, slots=True)
class Computed(Generic[R]):
    """The model's result for a document, and whether document or query were truncated for it."""

    value: R
    truncated: bool
    query_truncated: bool


class Cancellable(Protocol):
    """A job of any kind."""

    def cancel(self) -> None:
        """Compute no more of it."""
        ...


class Call:
    """One call for scores, which another thread may cancel."""

    def __init__(
        self, query: str, documents: Sequence[str], deadline: Deadline, instruction: str = ""
    ) -> None:
        self.query = valid_unicode(query)
        self.instruction = valid_unicode(instruction)
        self.documents = [valid_unicode(text) for text in documents]
        self.deadline = deadline
        self.cancelled = False
        self.jobs: deque[Cancellable] = deque()

    def cancel(self) -> None:
        """Stop computing for this call."""
        self.cancelled = True
        for job in list(self.jobs):
            job.cancel()


class Engine(ABC, Generic[R]):
    """A model with its queue and caches; `registry.get_engine` makes one for each spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.cache: LruCache[Computed[R]] = LruCache(int(spec.score_cache_mb * 1e6), self._size)
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._loading: threading.Thread | None = None
        self._error: Exception | None = None
        self._runner: Runner[R] | None = None
        self._queue: CallQueue[R] | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded.is_set() and self._error is None

    @property
    def usable(self) -> bool:
        """Whether it is neither closed nor failed to load its model."""
        return not self._closed

    @abstractmethod
    def _new_runner(self) -> Runner[R]:
        """Load the model."""

    @staticmethod
    @abstractmethod
    def _size(computed: Computed[R]) -> int:
        """Return the bytes of a cached result."""

    def runner(self, deadline: Deadline) -> Runner[R] | None:
        """Return the loaded model, or None if it is not loaded before the deadline.

        Loading continues in the background. Raises the error of a failed load.
        """
        with self._lock:
            if self._loading is None:
                self._loading = threading.Thread(
                    target=self._load, name="vecdb-rerank-load", daemon=True
                )
                self._loading.start()
        self._loaded.wait(min(deadline.remaining(), threading.TIMEOUT_MAX))
        if self._error is not None:
            raise self._error
        return self._runner if self._loaded.is_set() else None

    def warmup(self, deadline: Deadline) -> bool:
        """Load the model and compute documents of several lengths; return False if too late."""
        runner = self.runner(deadline)
        if runner is None or self._queue is None:
            return False
        query = runner.encoder.query("warm up")
        for words in _WARMUP_WORDS:
            documents = runner.encoder.documents(["word " * words])
            job: Job[R] = Job(runner.encoder.pairs(query, documents), deadline)
            if not self._queue.submit(job):
                return False
            job.wait()
        return job.results[0] is not None

    def compute(self, call: Call, query_key: bytes) -> list[Computed[R] | None]:
        """Return the result for each document, cached under ``query_key`` and its digest."""
        found: list[Computed[R] | None] = [None] * len(call.documents)
        if not call.documents or (runner := self.runner(call.deadline)) is None:
            return found
        digests = [digest(text) for text in call.documents]
        keys = [query_key + one for one in digests]
        if self.cache.capacity:
            found = self.cache.get(keys)
        missing = [n for n, computed in enumerate(found) if computed is None]
        if missing:
            self._compute_missing(runner, call, digests, missing, found)
            self.cache.put((keys[n], new) for n in missing if (new := found[n]) is not None)
        return found

    def _compute_missing(
        self,
        runner: Runner[R],
        call: Call,
        digests: Sequence[bytes],
        missing: Sequence[int],
        found: list[Computed[R] | None],
    ) -> None:
        """Fill ``found`` at the indices ``missing``, job by job."""
        queue = self._queue
        if queue is None or call.deadline.expired:
            return
        query = runner.encoder.query(call.query, call.instruction)
        waiting: deque[tuple[Job[R], list[int]]] = deque()
        try:
            for indices in split_into_jobs(call.documents, missing):
                if call.cancelled or call.deadline.expired:
                    break
                texts = [call.documents[n] for n in indices]
                documents = runner.encoder.documents(texts, [digests[n] for n in indices])
                job: Job[R] = Job(runner.encoder.pairs(query, documents), call.deadline)
                if not queue.submit(job):
                    break
                call.jobs.append(job)
                waiting.append((job, indices))
                if len(waiting) > _JOBS_IN_QUEUE:
                    _collect(call, *waiting.popleft(), found)
            while waiting:
                _collect(call, *waiting.popleft(), found)
        except Exception:
            call.cancel()
            raise

    def _load(self) -> None:
        try:
            with fork_guard.loading():
                for library in LIBRARIES:
                    require(library, "torch")
                self._runner = self._new_runner()
                self._queue = self._new_queue(self._runner)
        except Exception as error:
            self._error, self._closed = error, True
        finally:
            self._loaded.set()

    def _new_queue(self, runner: Runner[R]) -> CallQueue[R]:
        return CallQueue(
            runner.compute, runner.budget, workers=runner.workers, prepare=runner.prepare_worker
        )

    def close(self) -> None:
        """End the workers and fail the calls that wait."""
        self._closed = True
        if self._queue is not None:
            self._queue.close()

    def before_fork(self) -> None:
        """Wait until no batch is being computed, and start none."""
        if self._queue is not None:
            self._queue.before_fork()

    def after_fork_in_parent(self) -> None:
        """Continue."""
        if self._queue is not None:
            self._queue.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Keep the weights, whose memory both processes share, and start with a new queue."""
        self._lock = threading.Lock()
        self.cache.after_fork_in_child()
        runner = self._runner
        if runner is None or not self._loaded.is_set():
            self._loading, self._loaded, self._error = None, threading.Event(), None
            return
        if runner.on_gpu:
            self._error = RerankError(
                "a forked process cannot use a model on a GPU: load the model after the fork"
            )
            return
        runner.after_fork_in_child()
        self._queue = self._new_queue(runner)


class LogitEngine(Engine[float]):
    """Scores pairs with a cross-encoder; ``score_cache_mb`` is for logits of pairs."""

    def score(self, call: Call) -> Scores:
        """Return the logits of a call's documents; None for those not computed in time."""
        key = digest(call.query) + (digest(call.instruction) if call.instruction else b"")
        found = self.compute(call, key)
        computed = [one for one in found if one is not None]
        scores = Scores.from_logits(
            [None if one is None else one.value for one in found],
            truncated=sum(one.truncated for one in computed),
        )
        return replace(scores, notes=query_notes(one.query_truncated for one in computed))

    def _new_runner(self) -> LogitRunner:
        from vecdb_rerank.torch_engine.runner import LogitRunner

        return LogitRunner(self.spec)

    @staticmethod
    def _size(computed: Computed[float]) -> int:  # noqa: ARG004 - all have one size
        return _LOGIT_BYTES


def _collect(
    call: Call, job: Job[R], indices: Sequence[int], found: list[Computed[R] | None]
) -> None:
    """Wait for a job of ``call``, its oldest, and store the results at ``indices``."""
    if call.cancelled:
        job.cancel()
    job.wait()
    call.jobs.popleft()
    for n, pair, value in zip(indices, job.pairs, list(job.results), strict=True):
        if value is not None:
            found[n] = Computed(value, pair.truncated, pair.query_truncated)


def split_into_jobs(documents: Sequence[str], indices: Sequence[int]) -> list[list[int]]:
    """Split ``indices`` into jobs of a limited number of pairs and characters."""
    jobs: list[list[int]] = []
    characters = 0
    for n in indices:
        full = not jobs or len(jobs[-1]) >= _JOB_PAIRS
        if full or characters + len(documents[n]) > _JOB_CHARACTERS:
            jobs.append([])
            characters = 0
        jobs[-1].append(n)
        characters += len(documents[n])
    return jobs
