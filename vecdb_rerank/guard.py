"""One reranker, asked with care: in time, within the budget, not while it keeps failing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from vecdb_rerank.breaker import Circuit
from vecdb_rerank.candidates import Scores
from vecdb_rerank.cost import LEDGER
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.errors import NotAskedError, RerankError, RerankTimeoutError
from vecdb_rerank.flow import Compute, Flow
from vecdb_rerank.pace import Pace
from vecdb_rerank.passages import split
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Reranker


class Guard:
    """A reranker with its breaker, its pace and its price; shared by threads and tasks."""

    def __init__(self, reranker: Reranker, policy: Policy) -> None:
        self.reranker = reranker
        self.name = reranker.name
        self.bills = getattr(reranker, "predicted_units", None)
        self._steps = getattr(reranker, "steps", None)
        self._keeps_deadline = getattr(reranker, "keeps_deadline", False)
        self._circuit = Circuit(self.name, policy.breaker) if policy.breaker else None
        self._cost = policy.cost
        self._passages = policy.passages
        own = getattr(reranker, "calibration", None)
        self._calibration = policy.calibration.get(self.name, own)
        # A local model's pace is that of the machine: `doctor` tells it, a warning does not help.
        self._pace = Pace(self.name, warns=self._steps is not None)

    def expected(self, documents: int) -> float | None:
        """The seconds that scoring so many documents takes; None where that is not known yet."""
        estimate = self._pace.estimate()
        return None if estimate is None else estimate.seconds(documents)

    def ask(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        """Scores of ``texts``; None for those that there is no time for, the last ones.

        Raises `NotAskedError` where the reranker is left out, else what it raises.
        """
        if self._passages is None:
            return (yield from self._asked(query, texts, deadline))
        parts = split(self.reranker, query, texts, self._passages)
        scores = yield from self._asked(query, parts.pieces, deadline)
        return parts.joined(scores)

    def _asked(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        sent = texts[: self._fitting(len(texts), deadline)]
        if self.bills is None:
            scores = yield from self._watched(query, sent, deadline)
        else:
            with LEDGER.bill(self.name, self.bills(query, sent), self._cost) as bill:
                scores = yield from self._watched(query, sent, deadline)
                bill.units = scores.billed
        if not any(score is not None for score in scores.raw):
            raise RerankTimeoutError("the deadline came before any document was scored")
        if self._calibration is not None:
            scores = self._calibration.scores(scores)
        rest = [None] * (len(texts) - len(sent))
        return replace(scores, raw=[*scores.raw, *rest], relevance=[*scores.relevance, *rest])

    def _fitting(self, documents: int, deadline: Deadline) -> int:
        """How many documents there is time for; one that stops at the deadline takes them all."""
        left = deadline.remaining()
        if left <= 0:
            raise RerankTimeoutError("the deadline came before any document was scored")
        stops = self._keeps_deadline and self._steps is None
        if stops or math.isinf(left):
            return documents
        if fitting := self._pace.fitting(documents, left):
            return fitting
        raise NotAskedError(f"{self.name} takes longer than the {left * 1e3:.0f} ms that are left")

    def _watched(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        if self._circuit is None:
            return (yield from self._timed(query, texts, deadline))
        with self._circuit.watch(_is_its_fault):
            return (yield from self._timed(query, texts, deadline))

    def _timed(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        started = time.monotonic()
        try:
            scores = yield from self._scores(query, texts, deadline)
        except TimeoutError:
            self._pace.record(len(texts), time.monotonic() - started, late=True)
            raise
        cut = any(raw is None for raw in scores.raw)  # by the deadline
        self._pace.record(len(texts), time.monotonic() - started, late=cut)
        return scores

    def _scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        """One with ``steps`` is driven in the search's colour, any other as blocking work."""
        if self._steps is not None:
            answer: Scores = yield from self._steps(query, texts, deadline=deadline)
        else:
            watched = math.inf if self._keeps_deadline else deadline.remaining()
            score = self.reranker.score
            answer = yield Compute(lambda: score(query, texts, deadline=deadline), watched)
        return checked(answer, len(texts))


def _is_its_fault(error: Exception) -> bool:
    """Whether an error tells of the reranker rather than of what it was asked."""
    return not getattr(error, "of_request", False)


def checked(scores: Scores, count: int) -> Scores:
    """``scores``, or an error: a wrong answer must not become a ranking."""
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if len(values) != count:
            raise RerankError(f"{len(values)} {name} came back for {count} documents")
        if any(value is not None and not math.isfinite(value) for value in values):
            raise RerankError(f"one of the {name} is not a finite number")
    pairs = list(zip(scores.raw, scores.relevance, strict=True))
    if any((raw is None) != (relevance is None) for raw, relevance in pairs):
        raise RerankError("a document has a score or a relevance, but not both")
    best_first = sorted(((raw, rel) for raw, rel in pairs if raw is not None), reverse=True)
    relevance = [rel for _, rel in best_first if rel is not None]
    if any(not 0 <= value <= 1 for value in relevance):
        raise RerankError("a relevance is not in 0 to 1")
    if any(low > high for high, low in pairwise(relevance)):
        raise RerankError("a relevance does not rise with its score")
    return scores


def as_rerank_error(error: Exception, name: str) -> RerankError:
    """A failed rerank as an error of ours, with the foreign one as its cause."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, TimeoutError):
        mapped: RerankError = RerankTimeoutError(f"{name} was late")
    else:
        mapped = RerankError(f"{name} failed: {error!r}")
    mapped.__cause__ = error
    return mapped
