"""One engine a process and model: loads once, scores for all, survives forks, ends cleanly."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vecdb_rerank._optional import require
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.torch_engine import fork_guard
from vecdb_rerank.torch_engine.call_queue import Job, Queue
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest
from vecdb_rerank.torch_engine.spec import LIBRARIES, Spec

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.runner import Runner

_WARM_UP_WORDS = (8, 60, 250, 1_000)  # of documents, about their tokens
_JOB_PAIRS = 64  # a call's turn in the queue
_JOB_CHARACTERS = 200_000  # tokenized at once, between two looks at the clock
_IN_QUEUE = 2  # jobs of one call: one computed, one ready


@dataclass(frozen=True, slots=True)
class Computed:
    """What the model makes of a document (a logit), and whether it read only its beginning."""

    value: Any
    truncated: bool


class Call:
    """One call for scores, which may be cancelled from another thread."""

    def __init__(self, query: str, documents: Sequence[str], deadline: Deadline) -> None:
        self.query = valid_unicode(query)
        self.documents = [valid_unicode(text) for text in documents]
        self.deadline = deadline
        self.cancelled = False
        self.jobs: deque[tuple[Job, list[int]]] = deque()

    def cancel(self) -> None:
        """Compute nothing more for it."""
        self.cancelled = True
        for job, _ in list(self.jobs):
            job.cancel()


class Engine:
    """A model with its queue and caches; made by `of`, one for each spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.scores: LruCache[Computed] = LruCache(int(spec.score_cache_mb * 1e6), self._size)
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._loading: threading.Thread | None = None
        self._error: Exception | None = None
        self._runner: Runner | None = None
        self._queue: Queue | None = None

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and scores at once."""
        return self._loaded.is_set() and self._error is None

    def runner(self, deadline: Deadline) -> Runner | None:
        """The loaded model; None where the deadline came first.

        Loading goes on beside: a search that cannot wait falls back, a later one finds it ready.
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
        """Load the model and compute documents of several lengths; False where that was late."""
        runner = self.runner(deadline)
        if runner is None or self._queue is None:
            return False
        query = runner.tokens.query("warm up")
        for words in _WARM_UP_WORDS:
            documents = runner.tokens.documents(["word " * words])
            job = Job(runner.tokens.pairs(query, documents), deadline)
            if not self._queue.submit(job):
                return False
            job.wait()
        return job.scores[0] is not None

    def score(self, call: Call) -> Scores:
        """Scores of a call's documents; None for those that the deadline overtakes."""
        found = self.computed(call, digest(call.query))
        logits = [None if one is None else one.value for one in found]
        return Scores.from_logits(logits, truncated=sum(one.truncated for one in found if one))

    def computed(self, call: Call, asked: bytes) -> list[Computed | None]:
        """What is made of each document, kept under ``asked`` and its digest."""
        count = len(call.documents)
        found: list[Computed | None] = [None] * count
        if count and (runner := self.runner(call.deadline)) is not None:
            keys = [digest(text) for text in call.documents]
            both = [asked + key for key in keys]
            found = self.scores.get(both) if self.scores.capacity else found
            missing = [n for n, one in enumerate(found) if one is None]
            if missing:
                self._compute(runner, call, keys, missing, found)
                self.scores.put((both[n], new) for n in missing if (new := found[n]) is not None)
        return found

    def _compute(
        self,
        runner: Runner,
        call: Call,
        keys: Sequence[bytes],
        missing: Sequence[int],
        found: list[Computed | None],
    ) -> None:
        """Fill ``found`` at the places ``missing``, a job after another."""
        queue = self._queue
        if queue is None or call.deadline.expired:
            return
        query = runner.tokens.query(call.query)
        try:
            for places in _jobs(call.documents, missing):
                if call.cancelled or call.deadline.expired:
                    break
                texts = [call.documents[n] for n in places]
                documents = runner.tokens.documents(texts, [keys[n] for n in places])
                job = Job(runner.tokens.pairs(query, documents), call.deadline)
                if not queue.submit(job):
                    break
                call.jobs.append((job, places))
                if len(call.jobs) > _IN_QUEUE:
                    self._collect(call, found)
            while call.jobs:
                self._collect(call, found)
        except Exception:
            call.cancel()
            raise

    @staticmethod
    def _collect(call: Call, found: list[Computed | None]) -> None:
        job, places = call.jobs[0]
        if call.cancelled:
            job.cancel()
        job.wait()
        call.jobs.popleft()
        for n, pair, value in zip(places, job.pairs, list(job.scores), strict=True):
            found[n] = None if value is None else Computed(value, pair.truncated)

    def _load(self) -> None:
        try:
            with fork_guard.loading():
                for library in LIBRARIES:
                    require(library, "torch")
                self._runner = self._new_runner()
                self._queue = self._new_queue(self._runner)
        except Exception as error:
            self._error = error
            _forget(self)
        finally:
            self._loaded.set()

    def _new_runner(self) -> Runner:
        from vecdb_rerank.torch_engine.runner import Runner

        return Runner(self.spec)

    @staticmethod
    def _size(_: Computed) -> int:
        """Bytes that a kept one takes."""
        return 60

    def _new_queue(self, runner: Runner) -> Queue:
        return Queue(
            runner.compute, runner.budget, workers=runner.workers, prepare=runner.prepare_worker
        )

    def close(self) -> None:
        """End the workers; calls that wait fail."""
        _forget(self)
        if self._queue is not None:
            self._queue.close()

    def before_fork(self) -> None:
        """Let no batch be under way."""
        if self._queue is not None:
            self._queue.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._queue is not None:
            self._queue.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Keep the weights, which both processes share until one writes; begin anew otherwise."""
        self._lock = threading.Lock()
        self.scores.after_fork()
        runner = self._runner
        if runner is None or not self._loaded.is_set():
            self._loading, self._loaded, self._error = None, threading.Event(), None
            return
        if runner.on_gpu:
            self._error = RerankError(
                "the model is on a GPU, which a forked process cannot use: load it after the fork"
            )
            return
        runner.after_fork()
        self._queue = self._new_queue(runner)


def _jobs(documents: Sequence[str], places: Sequence[int]) -> list[list[int]]:
    """``places`` in turns of so many pairs or characters."""
    jobs: list[list[int]] = []
    characters = 0
    for n in places:
        full = not jobs or len(jobs[-1]) >= _JOB_PAIRS
        if full or characters + len(documents[n]) > _JOB_CHARACTERS:
            jobs.append([])
            characters = 0
        jobs[-1].append(n)
        characters += len(documents[n])
    return jobs


_engines: dict[Spec, Engine] = {}
_engines_lock = threading.Lock()


def of(spec: Spec, kind: type[Engine] = Engine) -> Engine:
    """The engine of this process for ``spec``; it loads its model on first use."""
    with _engines_lock:
        return _engines.setdefault(spec, kind(spec))


def shutdown() -> None:
    """End all engines: what is being computed is finished, what waits fails.

    Runs by itself when the interpreter ends.
    """
    with _engines_lock:
        engines = list(_engines.values())
    for engine in engines:
        engine.close()


def _forget(engine: Engine) -> None:
    with _engines_lock:
        if _engines.get(engine.spec) is engine:
            del _engines[engine.spec]


def _before_fork() -> None:
    _engines_lock.acquire()
    for engine in _engines.values():
        engine.before_fork()


def _after_fork_in_parent() -> None:
    for engine in _engines.values():
        engine.after_fork_in_parent()
    _engines_lock.release()


def _after_fork_in_child() -> None:
    global _engines_lock
    _engines_lock = threading.Lock()
    for engine in _engines.values():
        engine.after_fork_in_child()


Hook = Callable[[], Any]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
atexit.register(shutdown)
