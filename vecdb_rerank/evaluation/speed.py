"""How fast rerankers are on this machine, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

from vecdb_rerank.config.settings import RerankerSettings
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline

KS = (10, 20, 50, 100)
CHARACTERS_A_TOKEN = 4
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of calls with ``k`` documents each: median and 95th percentile in milliseconds."""

    k: int
    calls: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Speed:
    """What one reranker does here; ``error`` where it did not run.

    ``pairs`` and ``tokens`` are per second, with the most documents a call; a token counts as
    four characters. ``peak_mb`` is the most memory that its process held, ``gpu_mb`` the most on
    the GPU; None where nobody says.
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
        """The most documents whose p95 is within ``budget`` milliseconds; None for none."""
        return max((each.k for each in self.latencies if each.p95 <= budget), default=None)


def measure(
    sections: Iterable[RerankerSettings],
    *,
    ks: Sequence[int] = KS,
    words: int = 60,
    seconds: float = 3.0,
    on_progress: Progress = lambda *_: None,
) -> list[Speed]:
    """The speed of each reranker, one after another.

    ``words`` is about how long documents are, ``seconds`` how long each of ``ks`` is measured;
    there are five calls at least.
    """
    sections = list(sections)
    found = []
    for n, section in enumerate(sections):
        on_progress("rerankers", n, len(sections))
        found.append(_in_process(section, tuple(ks), words, seconds))
    on_progress("rerankers", len(sections), len(sections))
    return found


def recommended(speeds: Iterable[Speed], budget: float) -> tuple[Speed, int] | None:
    """The reranker that reads the most documents within ``budget`` milliseconds, and how many.

    Of two that read as many, the slower one: it has the larger model, as a rule. None where no
    reranker is fast enough.
    """
    fitting = [
        (k, -each.pairs, each) for each in speeds if (k := each.max_documents(budget)) is not None
    ]
    if not fitting:
        return None
    k, _, best = max(fitting, key=lambda one: one[:2])
    return best, k


def _in_process(
    section: RerankerSettings, ks: tuple[int, ...], words: int, seconds: float
) -> Speed:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measured, section, ks, words, seconds).result()
        except BrokenProcessPool:
            return Speed(section.type, error="its process died, for want of memory perhaps")


def _measured(section: RerankerSettings, ks: tuple[int, ...], words: int, seconds: float) -> Speed:
    from vecdb_rerank.config import factory

    name = section.type
    try:
        reranker = factory.component("rerankers", section)
        name = reranker.name
        texts = _Texts(words)
        started = time.perf_counter()
        _call(reranker, texts.some(2))
        load = time.perf_counter() - started
        latencies = tuple(_latency(reranker, k, texts, seconds) for k in ks)
    except Exception as error:  # reported beside the others
        return Speed(name, error=" ".join(str(error).split()) or type(error).__name__)
    last = latencies[-1]
    pairs = last.k / last.p50 * 1e3
    characters = statistics.fmean(map(len, texts.some(50)))
    tokens = pairs * characters / CHARACTERS_A_TOKEN
    return Speed(name, latencies, pairs, tokens, load, _peak_mb(), _gpu_mb())


def _latency(reranker: Any, k: int, texts: _Texts, seconds: float) -> Latency:
    _call(reranker, texts.some(k))
    times: list[float] = []
    ends = time.monotonic() + seconds
    while len(times) < 5 or time.monotonic() < ends:
        documents = texts.some(k)
        started = time.perf_counter()
        _call(reranker, documents)
        times.append((time.perf_counter() - started) * 1e3)
    p95 = statistics.quantiles(times, n=20, method="inclusive")[18]
    return Latency(k, len(times), statistics.median(times), p95)


def _call(reranker: Any, documents: Sequence[str]) -> None:
    scores = reranker.score("how does a class call its base class?", documents, deadline=Deadline())
    if None in scores.raw:
        raise RerankError("it left documents unscored, with time left")


class _Texts:
    """English documents, none of them twice, so that no cache has seen them."""

    def __init__(self, words: int) -> None:
        self._words = " ".join(topics.values()).split()
        self._length = words
        self._at = 0

    def some(self, count: int) -> list[str]:
        return [self._next() for _ in range(count)]

    def _next(self) -> str:
        self._at += 1
        start = self._at * 37 % (len(self._words) - self._length)
        return f"{self._at} {' '.join(self._words[start : start + self._length])}"


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


def as_json(speeds: Iterable[Speed]) -> list[Mapping[str, Any]]:
    """The numbers as plain values."""
    from dataclasses import asdict

    return [asdict(speed) for speed in speeds]
