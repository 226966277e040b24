"""One reranker, asked with care: in time, within the budget, not while it keeps failing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from vecdb_rerank.errors import (
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Reranker
from vecdb_rerank.resilience.checks import checked
from vecdb_rerank.resilience.circuit import Circuit
from vecdb_rerank.resilience.latency import LatencyModel
from vecdb_rerank.resilience.ledger import LEDGER, Ledger
from vecdb_rerank.resilience.passages import Split, split


class GuardedReranker:
    """A reranker with its breaker, its pace and its price; shared by threads and tasks.

    What it bills is written into ``ledger``.
    """

    def __init__(self, reranker: Reranker, policy: Policy, ledger: Ledger = LEDGER) -> None:
        self.reranker = reranker
        self.name = reranker.name
        self.bills = getattr(reranker, "predicted_units", None)
        self._steps = getattr(reranker, "steps", None)
        self._keeps_deadline = getattr(reranker, "keeps_deadline", False)
        self._local = getattr(reranker, "local", self._steps is None)
        self._circuit = Circuit(self.name, policy.breaker) if policy.breaker else None
        self._stops = self._keeps_deadline and self._local
        self._deadline = policy.deadline
        self._share = 1.0  # texts sent for a document
        self._cost = policy.cost
        self._ledger = ledger
        self._passages = policy.passages
        own = getattr(reranker, "calibration", None)
        self._calibration = policy.calibration.get(self.name, own)
        # A local model's pace is that of the machine: `doctor` tells it, a warning does not help.
        self._latency = LatencyModel(self.name, warns=not self._local)

    def expected(self, documents: int) -> float | None:
        """The seconds that scoring so many documents takes; None where that is not known yet."""
        estimate = self._latency.estimate()
        return None if estimate is None else estimate.seconds(self._pieces(documents))

    def predict_count(self, documents: int, seconds: float) -> int:
        """How many of ``documents`` it is known to score in ``seconds``; all where it is not."""
        if self._stops:
            return documents
        pieces = self._pieces(documents)
        return documents * self._latency.predict_count(pieces, seconds) // pieces

    def ask(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        """Scores of ``texts``; None for those that there is no time for, the last ones.

        Raises `RerankerSkippedError` where the reranker is left out, else what it raises.
        """
        rules = self._passages
        if rules is None:
            return (yield from self._asked(query, texts, deadline))
        cut = Compute(lambda: split(self.reranker, query, texts, rules), deadline.remaining())
        parts: Split = yield cut
        self._share = len(parts.places) / len(texts)
        scores = yield from self._asked(query, parts.pieces, deadline)
        return parts.joined(scores)

    def _pieces(self, documents: int) -> int:
        """How many texts so many documents are sent as, by those of the last search."""
        return max(1, round(documents * self._share))

    def _asked(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        sent = texts[: self._max_documents(len(texts), deadline)]
        predicted = self.bills(query, sent) if self.bills else 0.0
        with self._ledger.bill(self.name, predicted, self._cost) as bill:
            try:
                scores = yield from self._watched(query, sent, deadline)
            except RerankError as error:
                bill.units = error.billed
                raise
            if not scores.billed and self._cost.prices.get(self.name):
                scores = replace(scores, billed=predicted)  # a paid one that does not tell
            bill.units = scores.billed
        if self._calibration is not None:
            scores = self._calibration.scores(scores)
        rest = [None] * (len(texts) - len(sent))
        return replace(scores, raw=[*scores.raw, *rest], relevance=[*scores.relevance, *rest])

    def _max_documents(self, documents: int, deadline: Deadline) -> int:
        """How many documents there is time for; one that stops at the deadline takes them all."""
        left = deadline.remaining()
        if left <= 0:
            raise RerankTimeoutError("the deadline came before any document was scored")
        if self._stops or math.isinf(left):
            return documents
        if fitting := self._latency.max_documents(documents, left):
            return fitting
        raise RerankerSkippedError(
            f"{self.name} takes longer than the {left * 1e3:.0f} ms that are left"
        )

    def _watched(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        if self._circuit is None:
            return (yield from self._timed(query, texts, deadline))
        fair = self._is_fair(deadline)
        with self._circuit.watch(lambda error: _is_its_fault(error, fair), may_probe=fair):
            return (yield from self._timed(query, texts, deadline))

    def _is_fair(self, deadline: Deadline) -> bool:
        """Whether a reranker that is late at this deadline has itself to blame."""
        needed = self._latency.usual()
        if needed is None:
            needed = (self._deadline or 0.0) / 3
        return deadline.remaining() >= needed

    def _timed(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
        fair = self._is_fair(deadline)
        started = time.monotonic()
        known = 0
        try:
            scores = yield from self._scores(query, texts, deadline)
            known = sum(raw is not None for raw in scores.raw)
            if not known:
                raise RerankTimeoutError("the deadline came before any document was scored")
        except TimeoutError:
            self._latency.record(len(texts), time.monotonic() - started, scored=0, fair=fair)
            raise
        self._latency.record(len(texts), time.monotonic() - started, scored=known, fair=fair)
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


def _is_its_fault(error: Exception, fair: bool) -> bool:
    """Whether an error tells of the reranker rather than of what it was asked, or given time."""
    if isinstance(error, TimeoutError):
        return fair
    return not getattr(error, "request_rejected", False)


def warm_up(*rerankers: Reranker) -> None:
    """Have those that hold a model load it; one without a method ``warmup`` has nothing to load."""
    for reranker in rerankers:
        if (warmup := getattr(reranker, "warmup", None)) is not None:
            warmup()
