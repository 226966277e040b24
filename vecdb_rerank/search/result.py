"""The result of a search as it grows: from the first pass over the final order to the response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from vecdb_rerank.errors import RerankError
from vecdb_rerank.model import Answer, BranchWeight, Candidate, HitId, Ranking, Scores, Span
from vecdb_rerank.outcome import Outcome, Status, Stopped, publish
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.ranking import after as stages_after
from vecdb_rerank.ranking import formula, ordering
from vecdb_rerank.ranking.after import Prepared, Traced
from vecdb_rerank.request import NativeSearch, Search
from vecdb_rerank.search.reading import SearchReading

R = TypeVar("R")
AnySearch = Search | NativeSearch


@dataclass(frozen=True, slots=True)
class RankedSearch(Generic[R]):
    """A search whose window is in final order.

    ``window`` and ``tail`` (the hits that follow it) are in first-pass order, ``ranking`` is the
    window by final score. ``shown`` is what pages are cut from: the relevant hits after the stages
    of `Policy.after`, whose effects are in ``trace``. ``rescored`` tells whether its scores are
    this package's, not the database's. ``skip_rule`` is the rule of `Skip` that applied.
    ``branch_weights`` are those of the branches in fusion and blend, by name, if their hits are
    known.
    """

    search: AnySearch
    first: FirstPass[R]
    window: Sequence[Candidate]
    tail: Sequence[Candidate]
    ranking: Ranking
    shown: Ranking
    rescored: bool = False
    trace: Sequence[Traced] = ()
    status: Status = "skipped"
    reranker: str = ""
    reason: str | None = None
    error: RerankError | None = None
    answer: Answer | None = None
    passages: Mapping[HitId, Span] = field(default_factory=dict)
    skip_rule: str | None = None
    stopped: Stopped | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    branch_weights: Mapping[str, BranchWeight] = field(default_factory=dict)

    def with_answer(
        self,
        candidates: Sequence[Candidate],
        texts: Sequence[str],
        answer: Answer,
        policy: Policy,
        reading: SearchReading,
        after: Prepared | None,
    ) -> RankedSearch[R]:
        """Return the search with ``candidates`` ordered by the scores of the distinct ``texts``."""
        scores = answer.scores
        if scores is None:
            return replace(
                self.staged_by_rank(after),
                status="fell_back",
                reason=str(answer.error),
                error=answer.error,
                reranker=answer.reranker,
                answer=answer,
            )
        scored = sum(score is not None for score in scores.raw)
        stopped = reading.stopped(scores)
        complete = stopped != "deadline"
        ranking = reading.ranking(scores)
        trace: list[Traced] = []
        return replace(
            self,
            ranking=ranking,
            shown=reading.shown(ranking, scores, trace),
            rescored=True,
            trace=trace,
            stopped=stopped,
            status="reranked" if complete else "partial",
            reason=None if complete else _why_partial(scores, scored, len(texts)),
            reranker=answer.reranker,
            answer=answer,
            passages=_passages(scores, texts, candidates),
            notes={**self.notes, **scores.notes, **_uncalibrated(answer, policy.blend)},
        )

    def noting(self, key: str, sentence: str) -> RankedSearch[R]:
        """Return the search with one more note."""
        return replace(self, notes={**self.notes, key: sentence})

    def under_formula(self, minimum: float | None, after: Prepared | None) -> RankedSearch[R]:
        """Return the search ordered by the caller's own formula, if the request has one.

        Where it has no value for a score that another hit had, the database's order stays. Hits
        below ``minimum`` relevance are left out, and the stages work on the order by rank.
        """
        if self.first.formula is None or self.status not in ("reranked", "partial"):
            return self
        try:
            ranking = formula.applied(self.ranking, self.window, self.first.formula)
        except ValueError as error:
            reason = f"formula: it has no value for a score that another hit had: {error}"
            native = ordering.unchanged(self.window)
            plain = replace(self, ranking=native, shown=native, rescored=False, trace=())
            return replace(plain, status="skipped", reason=reason, stopped=None).staged_by_rank(
                after
            )
        suspect = "scale_suspect" in self.notes
        kept = ranking if suspect else ordering.keep_relevant(ranking, minimum)
        return replace(self, ranking=ranking, shown=kept).staged_by_rank(after)

    def followed(self, window: Ranking) -> Ranking:
        """Return the hits past ``window``, which is the ranking or a part of it."""
        if self.first.formula is not None and self.rescored:
            return formula.followed(window, self.tail)
        return ordering.followed(window, self.tail, self.rescored)

    def staged_by_rank(self, after: Prepared | None) -> RankedSearch[R]:
        """Return the search after the stages, which work on the ranks of what is shown.

        Its scores are the database's or those of a formula, on no known scale.
        """
        if after is None:
            return self
        number = {candidate.position: n for n, candidate in enumerate(self.window)}
        hits = {number[hit.candidate.position]: hit for hit in self.shown.hits}
        trace = list[Traced]()
        shown = stages_after.arrange(hits, stages_after.by_rank(len(hits)), after, trace=trace)
        if shown is None:
            return self
        return replace(self, shown=shown, rescored=True, trace=trace)


@dataclass(frozen=True, slots=True)
class CompletedSearch(Generic[R]):
    """A search that is done: the native response, the page's ranking, and what happened."""

    response: R
    ranking: Ranking
    outcome: Outcome


def deliver(completed: CompletedSearch[R], policy: Policy) -> R:
    """Publish the outcome and return the response.

    Raises the reranker's error under ``on_error="raise"``.
    """
    publish(completed.outcome, policy.on_outcome)
    if completed.outcome.error is not None and policy.on_error == "raise":
        raise completed.outcome.error
    return completed.response


def _uncalibrated(answer: Answer, blend: Blend) -> dict[str, str]:
    scores = answer.scores
    if scores is None or scores.calibrated or not blend.uses_relevance:
        return {}
    if "scale_suspect" in scores.notes:
        return {}
    return {
        "uncalibrated": f"{answer.reranker} has no calibration, so its scores count by rank; "
        "fit one with `vecdb-rerank calibrate`"
    }


def _why_partial(scores: Scores, scored: int, count: int) -> str:
    if not scores.failed:
        return f"there was time for {scored} of {count} documents"
    why = "; ".join(f"{name}: {reason}" for name, reason in scores.failed.items())
    return f"{scored} of {count} documents were scored ({why})"


def _passages(
    scores: Scores, texts: Sequence[str], candidates: Sequence[Candidate]
) -> dict[HitId, Span]:
    best = dict(zip(texts, scores.passages, strict=False))
    return {c.id: span for c in candidates if (span := best.get(c.text)) is not None}
