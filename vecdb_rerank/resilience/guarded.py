"""One reranker, called in time, within the budget, and not while it keeps failing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vecdb_rerank.errors import (
    InvalidRerankerError,
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.resilience.adapt import adapt, call_steps
from vecdb_rerank.resilience.checks import check_scores, scores_of
from vecdb_rerank.resilience.circuit import Circuit
from vecdb_rerank.resilience.focus import Focus, Focused
from vecdb_rerank.resilience.latency import LatencyModel
from vecdb_rerank.resilience.ledger import LEDGER, Ledger
from vecdb_rerank.resilience.passages import Split, split
from vecdb_rerank.resilience.reading import ReadAll, Reading, joined
from vecdb_rerank.resilience.scale_watch import ScaleWatch, WatchedAnswer


class GuardedReranker:
    """A reranker with its circuit, its latency model and its bills; shared by threads and tasks.

    It keeps state alone: the rules come with each call, as the policy. What it bills is written
    into ``ledger``. Scores that do not look like their scale, answer after answer, count by rank.
    """

    def __init__(self, reranker: AnyReranker, ledger: Ledger = LEDGER) -> None:
        self.reranker = adapt(reranker)
        self.name = self.reranker.name
        self._stops_in_time = self.reranker.keeps_deadline and self.reranker.local
        self._circuit = Circuit(self.name)
        # The speed of a local model is that of the machine: a warning would not help.
        self._latency = LatencyModel(self.name, warns=not self.reranker.local)
        self._ledger = ledger
        self._watches_scale = True
        self._scale = ScaleWatch()
        self._passages_per_document = 1.0  # in the last search that split documents

    def trust_scale(self) -> None:
        """Stop watching whether scores look like their scale, those of rerankers inside, too."""
        self._watches_scale = False
        if (inside := getattr(self.reranker, "trust_scales", None)) is not None:
            inside()

    def expected_seconds(self, documents: int, policy: Policy) -> float | None:
        """Return the seconds that scoring ``documents`` takes; None if not known yet."""
        estimate = self._latency.estimate()
        return None if estimate is None else estimate.seconds(self._pieces(documents, policy))

    def predict_count(self, documents: int, seconds: float, policy: Policy) -> int:
        """Return how many of ``documents`` it scores in ``seconds``; all if not known yet."""
        if self._stops_in_time:
            return documents
        pieces = self._pieces(documents, policy)
        return documents * self._latency.predict_count(pieces, seconds) // pieces

    def ask(
        self,
        query: str,
        texts: Sequence[str],
        deadline: Deadline,
        policy: Policy,
        reading: Reading | None = None,
        instruction: str | None = None,
    ) -> Flow[Scores]:
        """Return scores of ``texts``; None for those that there is no time for.

        ``reading`` decides which of them are read; by default all are. ``instruction`` replaces
        the reranker's own, and is left out, with a note, if it takes none. Raises
        `RerankerSkippedError` if the reranker is left out, else what it raises.
        """
        reading = reading or ReadAll()
        reranker = self._instructed(instruction)
        reading.start(reranker)
        focus: Focus | None = None
        if policy.passages.mode == "focus":  # all texts, so that no batch changes what is read
            focus = yield Compute(lambda: Focus(query, texts), deadline.remaining())
        answer = self._scale.answer()
        unread: list[float | None] = [None] * len(texts)
        calibrated = self._calibration(policy) is not None and self._scale.reason is None
        scores = Scores(unread, unread, calibrated=calibrated)
        read = 0
        while indices := reading.next(scores):
            batch = [texts[n] for n in indices]
            try:
                part = yield from self._read(
                    reranker, query, batch, deadline, policy, answer, focus
                )
            except TimeoutError:
                if not read:
                    raise
                break  # the deadline came between two batches
            scores = joined(scores, part, indices)
            read += len(batch)
            if None in part.raw or deadline.expired:
                break
        if instruction and not reranker.takes_instruction:
            why = f"{self.name} has no place for an instruction; it read the query alone"
            scores = replace(scores, notes={**scores.notes, "instruction_unused": why})
        return scores

    def _instructed(self, instruction: str | None) -> BaseReranker:
        if instruction is None or not self.reranker.takes_instruction:
            return self.reranker
        return self.reranker.with_instruction(instruction)

    def _read(
        self,
        reranker: BaseReranker,
        query: str,
        texts: Sequence[str],
        deadline: Deadline,
        policy: Policy,
        answer: WatchedAnswer,
        focus: Focus | None,
    ) -> Flow[Scores]:
        """Score in one call what the policy says to read of ``texts``."""
        rules = policy.passages
        if rules.mode == "head":
            return (yield from self._ask(reranker, query, texts, deadline, policy, answer))
        parts: Split | Focused = yield Compute(
            lambda: (
                focus.select(reranker, query, texts, rules)
                if focus
                else split(reranker, query, texts, rules)
            ),
            deadline.remaining(),
        )
        self._passages_per_document = len(parts.pieces) / max(1, len(texts))
        scores = yield from self._ask(reranker, query, parts.pieces, deadline, policy, answer)
        return parts.joined(scores)

    def _ask(
        self,
        reranker: BaseReranker,
        query: str,
        texts: Sequence[str],
        deadline: Deadline,
        policy: Policy,
        watched: WatchedAnswer,
    ) -> Flow[Scores]:
        sent = texts[: self._max_documents(len(texts), deadline)]
        predicted = reranker.predicted_units(query, sent) if reranker.bills else 0.0
        fair = self._is_fair(deadline, policy)
        with (
            self._ledger.bill(self.name, predicted, policy.cost) as bill,
            self._circuit.watch(policy.breaker, lambda e: _is_its_fault(e, fair), may_probe=fair),
            self._latency.timing(len(sent), fair=fair) as timing,
        ):
            answer = yield from call_steps(reranker, query, sent, deadline)
            scores = check_scores(scores_of(answer, len(sent), self.name))
            timing.scored = sum(raw is not None for raw in scores.raw)
            # A service that does not say what it billed is taken at its price list.
            unsaid = predicted if policy.cost.prices.get(self.name) else 0.0
            bill.units = scores.billed or unsaid
            if not timing.scored:
                if deadline.expired or not sent:
                    raise RerankTimeoutError("the deadline came before any document was scored")
                raise RerankError(f"{self.name} scored no document")
        scores = self._on_common_scale(replace(scores, billed=bill.units), policy, watched, sent)
        rest = [None] * (len(texts) - len(sent))
        return replace(scores, raw=[*scores.raw, *rest], relevance=[*scores.relevance, *rest])

    def _calibration(self, policy: Policy) -> Calibration | None:
        return policy.calibration.get(self.name, self.reranker.calibration)

    def _on_common_scale(
        self, scores: Scores, policy: Policy, watched: WatchedAnswer, texts: Sequence[str]
    ) -> Scores:
        """Calibrate ``scores`` if their scale can be trusted."""
        calibration = self._calibration(policy)
        if self._watches_scale and (reason := watched.add(_of_distinct(scores, texts))):
            why = f"{self.name}: {reason}; its scores count by rank only"
            return replace(scores, calibrated=False, notes={**scores.notes, "scale_suspect": why})
        return scores if calibration is None else calibration.scores(scores)

    def _pieces(self, documents: int, policy: Policy) -> int:
        """How many texts ``documents`` are sent as, judging by the last search."""
        each = self._passages_per_document if policy.passages.mode == "all" else 1.0
        return max(1, round(documents * each))

    def _max_documents(self, documents: int, deadline: Deadline) -> int:
        """How many documents there is time for; a reranker that stops in time takes them all."""
        left = deadline.remaining()
        if left <= 0:
            raise RerankTimeoutError("the deadline came before any document was scored")
        if self._stops_in_time or math.isinf(left):
            return documents
        if count := self._latency.max_documents(documents, left):
            return count
        raise RerankerSkippedError(f"{self.name} takes longer than the {left * 1e3:.0f} ms left")

    def _is_fair(self, deadline: Deadline, policy: Policy) -> bool:
        """Whether missing this deadline counts as a failure of the reranker."""
        needed = self._latency.usual()
        if needed is None:
            needed = (policy.deadline or 0.0) / 3
        return deadline.remaining() >= needed


def _is_its_fault(error: Exception, fair: bool) -> bool:
    """Whether an error is the reranker's own rather than the request's, or of too little time."""
    if isinstance(error, TimeoutError):
        return fair
    if isinstance(error, InvalidRerankerError):
        return False  # raised at every call, never an outage to wait for
    return not (isinstance(error, RerankError) and error.request_rejected)


def _of_distinct(scores: Scores, texts: Sequence[str]) -> Scores:
    """Return one score of each different text: equal texts rightly have equal scores."""
    places = {text: n for n, text in enumerate(texts)}.values()
    if len(places) == len(texts):
        return scores
    return replace(
        scores,
        raw=[scores.raw[n] for n in places],
        relevance=[scores.relevance[n] for n in places],
    )
