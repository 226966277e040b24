"""How fast a reranker is: what fits into the time left, and a warning if it is slow."""

from __future__ import annotations

import logging
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger("vecdb_rerank")
SLOW = 0.5  # seconds; an added latency that users notice
WINDOW = 100  # calls
ENOUGH = 20  # calls that a p95 needs
PAUSE = 300.0  # seconds between two warnings
KNOWN = 5  # calls that a prediction needs
PROBE = 1.0  # seconds between two calls of a reranker that seems too slow
# Factors of the documents to send, after two late calls in a row and after one in time.
BACKOFF_FACTOR, GROWTH_FACTOR = 0.7, 1.05
FRESH = 60.0  # seconds for which a call counts, so that a slow spell is forgotten


@dataclass(frozen=True, slots=True)
class Timed:
    """One call: its end, its documents, and the seconds that it took or was waited for."""

    at: float
    documents: int
    seconds: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """The seconds of a call: ``fixed``, ``per_document``, and up to ``spread`` more."""

    fixed: float
    per_document: float
    spread: float = 0.0

    @classmethod
    def of(cls, calls: Sequence[Timed], fixed_share: float = 0.5) -> Estimate:
        """Fit a least-squares line to ``calls``, with neither part below 0.

        Calls of one size cannot separate the two parts: ``fixed_share`` (0 to 1) of the time is
        then taken as fixed.
        """
        sizes = [call.documents for call in calls]
        seconds = [call.seconds for call in calls]
        size, mean = statistics.fmean(sizes), statistics.fmean(seconds)
        most = mean / size
        variance = sum((n - size) ** 2 for n in sizes)
        covariance = sum((n - size) * (s - mean) for n, s in zip(sizes, seconds, strict=True))
        slope = min(max(covariance / variance, 0.0), most) if variance else most * (1 - fixed_share)
        fixed = mean - slope * size
        above = [s - fixed - slope * n for n, s in zip(sizes, seconds, strict=True)]
        return cls(fixed, slope, max(0.0, p95(above)))

    def seconds(self, documents: int) -> float:
        """Return the seconds that a call with ``documents`` takes, spread included."""
        return self.fixed + self.spread + self.per_document * documents

    def max_documents(self, documents: int, seconds: float) -> int:
        """Return how many of ``documents`` can be scored in ``seconds``.

        If none fits with the spread, one may fit without it: most calls are quicker.
        """
        left = seconds - self.fixed
        return self._within(documents, left - self.spread) or self._within(documents, left)

    def _within(self, documents: int, left: float) -> int:
        if self.per_document * documents <= left:
            return documents
        return max(0, int(left / self.per_document)) if self.per_document else 0


@dataclass(slots=True)
class Timing:
    """One call while it runs; ``scored`` is set to the documents that it scored."""

    scored: int = 0


class LatencyModel:
    """Predicts latency from the last calls of one reranker; shared by threads and tasks.

    If ``warns``, a p95 over 500 ms is logged as a warning.
    """

    def __init__(
        self, name: str, *, warns: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._warns = warns
        self._clock = clock
        self._calls: deque[Timed] = deque(maxlen=WINDOW)
        self._quiet_until = self._next_probe = self._late_at = self._small_was_late = -math.inf
        self._was_late = False
        self._most = math.inf  # documents to send, after late calls in the last minute
        self._lock = threading.Lock()

    def max_documents(self, documents: int, seconds: float) -> int:
        """Return how many of ``documents`` to send with ``seconds`` left.

        If none fits, the reranker is probed with all of them once per second until it recovers.
        """
        if max_documents := self.predict_count(documents, seconds):
            return max_documents
        with self._lock:
            now = self._clock()
            if now < self._next_probe:
                return 0
            self._next_probe = now + PROBE
            return documents

    def predict_count(self, documents: int, seconds: float) -> int:
        """Return how many of ``documents`` fit into ``seconds``, by the last minute's calls."""
        with self._lock:
            since = self._clock() - FRESH
            most = min(documents, int(self._most)) if self._late_at > since else documents
        estimate = self.estimate(since)
        return most if estimate is None else estimate.max_documents(most, seconds)

    def estimate(self, since: float = -math.inf) -> Estimate | None:
        """Fit an estimate to the calls ``since`` a time; None if there are too few."""
        with self._lock:
            known = [call for call in self._calls if call.at > since and not call.late]
            share = 1.0 if self._small_was_late > self._clock() - FRESH else 0.5
        return Estimate.of(known, share) if len(known) >= KNOWN else None

    def usual(self) -> float | None:
        """Return the p95 in seconds of the calls in time; None if there are too few."""
        with self._lock:
            seconds = [call.seconds for call in self._calls if not call.late]
        return p95(seconds) if len(seconds) >= KNOWN else None

    def p95(self) -> float | None:
        """Return the p95 in seconds of the last calls; None if there are too few."""
        with self._lock:
            seconds = [call.seconds for call in self._calls]
        return p95(seconds) if len(seconds) >= ENOUGH else None

    @contextmanager
    def timing(self, documents: int, *, fair: bool) -> Iterator[Timing]:
        """Time the block, a call with ``documents``, and record it.

        A call that ends in an error is not recorded, unless it is a `TimeoutError`.
        """
        started = self._clock()
        call = Timing()
        try:
            yield call
        except TimeoutError:
            self.record(documents, self._clock() - started, scored=0, fair=fair)
            raise
        self.record(documents, self._clock() - started, scored=call.scored, fair=fair)

    def record(
        self, documents: int, seconds: float, *, scored: int | None = None, fair: bool = True
    ) -> None:
        """Record a call with ``documents``; warn if the p95 is over 500 ms now.

        A call that the deadline cut after ``scored`` documents predicts nothing, but two of them
        in a row reduce the documents sent. If it had less time than usual (not ``fair``), it only
        shows that fewer documents do not take less time.
        """
        scored = documents if scored is None else scored
        with self._lock:
            now = self._clock()
            if scored < documents < max((c.documents for c in self._calls), default=0):
                self._small_was_late = now
            if scored < documents and not fair:
                return
            self._calls.append(Timed(now, documents, seconds, scored < documents))
            self._learn(documents, scored, now)
            if not self._warns or len(self._calls) < ENOUGH or now < self._quiet_until:
                return
            slow = p95([call.seconds for call in self._calls])
            if slow <= SLOW:
                return
            self._quiet_until = now + PAUSE
            calls = len(self._calls)
        log.warning(
            "reranking with %s is slow: p95 %.0f ms over the last %d calls; lower search.k, use a "
            "nearer server, or a local model (reranker.type = 'onnx')",
            self._name,
            slow * 1e3,
            calls,
        )

    def _learn(self, documents: int, scored: int, now: float) -> None:
        """Send less after two late calls in a row (one may be a fault), and more step by step."""
        late = scored < documents
        if not late:
            self._most = max(self._most, documents * GROWTH_FACTOR + 1)
        elif self._was_late:
            self._most, self._late_at = max(scored + 1.0, documents * BACKOFF_FACTOR), now
        self._was_late = late


def p95(seconds: Sequence[float]) -> float:
    """Return the least value that 95 % of ``seconds`` do not exceed."""
    ordered = sorted(seconds)
    return ordered[math.ceil(0.95 * len(ordered)) - 1]
