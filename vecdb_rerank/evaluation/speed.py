"""Measure how fast rerankers are on this machine, each in a separate process."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pydoc_data.topics import topics

from vecdb_rerank.config.settings import RerankerSettings
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.checks import scores_of

KS = (10, 20, 50, 100)
CHARACTERS_PER_TOKEN = 4
MIN_CALLS = 5
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of calls with ``k`` documents each: percentiles in milliseconds."""

    k: int
    calls: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one reranker; ``error`` is why it did not run.

    ``pairs`` and ``tokens`` are per second at the largest ``k``; four characters count as a token.
    ``load`` is the seconds until the first scores. ``peak_mb`` is the peak memory of its process,
    ``gpu_mb`` that on the GPU (both in MB; None if unknown).
    """

    name: str
    latencies: tuple[Latency, ...] = ()
    pairs: float = 0.0
    tokens: float = 0.0
    load: float = 0.0
    peak_mb: float | None = None
    gpu_mb: float | None = None
    error: str | None = None

    def max_documents(self, budget: float) -> int | None:
        """Return the largest ``k`` with a p95 of at most ``budget`` milliseconds, or None."""
        return max((each.k for each in self.latencies if each.p95 <= budget), default=None)


def measure(
    sections: Iterable[RerankerSettings],
    *,
    ks: Sequence[int] = KS,
    words: int = 60,
    seconds: float = 3.0,
    on_progress: Progress = lambda *_: None,
) -> list[Speed]:
    """Measure each reranker, one after another.

    ``words`` is the approximate length of the documents. Each of ``ks`` is measured for
    ``seconds``, but with at least five calls.
    """
    sections = list(sections)
    found = []
    for n, section in enumerate(sections):
        on_progress("rerankers", n, len(sections))
        found.append(_in_process(section, tuple(ks), words, seconds))
    on_progress("rerankers", len(sections), len(sections))
    return found


def recommended(speeds: Iterable[Speed], budget: float) -> tuple[Speed, int] | None:
    """Return the reranker that scores the most documents within ``budget`` milliseconds, and k.

    Of two with the same k, the slower one is returned: it usually has the larger model. Return None
    if no reranker is fast enough.
    """
    candidates = [
        (k, -each.pairs, each) for each in speeds if (k := each.max_documents(budget)) is not None
    ]
    if not candidates:
        return None
    k, _, best = max(candidates, key=lambda candidate: candidate[:2])
    return best, k


def _in_process(
    section: RerankerSettings, ks: tuple[int, ...], words: int, seconds: float
) -> Speed:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, section, ks, words, seconds).result()
        except BrokenProcessPool:
            return Speed(section.type, error="its process died; it may have run out of memory")


def _measure(section: RerankerSettings, ks: tuple[int, ...], words: int, seconds: float) -> Speed:
    from vecdb_rerank.config import factory

    name = section.type
    try:
        reranker = adapt(factory.component("rerankers", section))
        name = reranker.name
        texts = _Documents(words)
        started = time.perf_counter()
        _call(reranker, texts.take(2))
        load = time.perf_counter() - started
        latencies = tuple(_latency(reranker, k, texts, seconds) for k in ks)
    except Exception as error:  # reported with the other rerankers
        return Speed(name, error=" ".join(str(error).split()) or type(error).__name__)
    last = latencies[-1]
    pairs = last.k / last.p50 * 1e3
    characters = statistics.fmean(map(len, texts.take(50)))
    tokens = pairs * characters / CHARACTERS_PER_TOKEN
    return Speed(name, latencies, pairs, tokens, load, _peak_mb(), _gpu_mb())


def _latency(reranker: BaseReranker, k: int, texts: _Documents, seconds: float) -> Latency:
    _call(reranker, texts.take(k))
    times: list[float] = []
    ends = time.monotonic() + seconds
    while len(times) < MIN_CALLS or time.monotonic() < ends:
        documents = texts.take(k)
        started = time.perf_counter()
        _call(reranker, documents)
        times.append((time.perf_counter() - started) * 1e3)
    p95 = statistics.quantiles(times, n=20, method="inclusive")[18]
    return Latency(k, len(times), statistics.median(times), p95)


def _call(reranker: BaseReranker, documents: Sequence[str]) -> None:
    query = "how does a class call its base class?"
    answer: object = run(reranker.steps(query, documents, deadline=Deadline()))
    scores = scores_of(answer, len(documents), reranker.name)
    if None in scores.raw:
        raise RerankError("some documents were not scored, although there was no deadline")


class _Documents:
    """English texts that are all different, so that no cache has seen them."""

    def __init__(self, words: int) -> None:
        self._words = " ".join(topics.values()).split()
        self._length = words
        self._count = 0

    def take(self, count: int) -> list[str]:
        return [self._next() for _ in range(count)]

    def _next(self) -> str:
        self._count += 1
        start = self._count * 37 % (len(self._words) - self._length)
        return f"{self._count} {' '.join(self._words[start : start + self._length])}"


def _peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _gpu_mb() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    peak: float = torch.cuda.max_memory_reserved() / 1e6
    return peak


def as_json(speeds: Iterable[Speed]) -> list[dict[str, object]]:
    """Return the numbers as plain values."""
    return [asdict(speed) for speed in speeds]
