"""What is read of one search: the most promising candidates, until the page is settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from vecdb_rerank.model import Candidate, Estimate, RankedHit, Ranking, Scores
from vecdb_rerank.outcome import Stopped
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.ranking import after as stages_after
from vecdb_rerank.ranking import exact_terms, ordering, reading
from vecdb_rerank.ranking.after import Prepared, Traced
from vecdb_rerank.ranking.blending import EQUAL, Weights
from vecdb_rerank.ranking.estimates import estimates

if TYPE_CHECKING:
    from vecdb_rerank.ranking.after import Array

# The blends whose estimates were measured.
_MEASURED = ("confidence", "convex")


class SearchReading:
    """The reading of one search (`resilience.reading.Reading`), and the order that follows from it.

    ``texts`` are the distinct texts of ``candidates``, which are in first-pass order. The page
    starts at ``offset`` and has ``limit`` hits. The pages before it are settled first, by the same
    rule, and keep their hits: all pages of a search agree. With ``scores_all``, the policy ``auto``
    reads all texts. ``weights`` are those of the branches in the blend, by name, ``after`` the
    stages of `Policy.after` for the candidates.
    """

    def __init__(
        self,
        query: str,
        candidates: Sequence[Candidate],
        texts: Sequence[str],
        policy: Policy,
        *,
        offset: int,
        limit: int,
        scores_all: bool = False,
        weights: Weights = EQUAL,
        after: Prepared | None = None,
    ) -> None:
        self._query = query
        self._candidates = candidates
        self._policy = policy
        self._scores_all = scores_all
        self._weights = weights
        self._index = {text: n for n, text in enumerate(texts)}
        self._readable = [candidate for candidate in candidates if candidate.text]
        self._after = after
        self._number = {candidate.position: n for n, candidate in enumerate(candidates)}
        self._first_end, self._limit, self._end = offset % limit or limit, limit, offset + limit
        self.start(BaseReranker())

    def start(self, reranker: BaseReranker) -> None:
        """Forget what another reranker has read."""
        self._reranker = reranker
        self._placed: Sequence[RankedHit] = ()  # the hits of the pages that are settled
        self._page_end = self._first_end
        self._asked = 0
        self._wants_more = False

    def next(self, scores: Scores) -> Sequence[int]:
        """Return the indices of the texts to read next; none if the page is settled."""
        count = len(self._index)
        effort = self._effort(scores)
        most = (effort and effort.pairs) or count
        size = self._reranker.batch or count
        if effort is None or count <= min(most, max(reading.FIRST, size)):
            return self._take([n for n, raw in enumerate(scores.raw) if raw is None])
        while True:
            wanted = self._wanted(scores, effort, size)
            if wanted or not self._settle(scores):
                allowed = wanted[: most - self._asked]
                self._wants_more = len(allowed) < len(wanted)
                return self._take(allowed)

    def ranking(self, scores: Scores) -> Ranking:
        """Return all candidates by their final scores; ``scores`` are those of the texts."""
        known = replace(
            self._by_candidate(self._candidates, scores), estimates=self._estimates(scores)
        )
        ranking = ordering.rerank(self._candidates, known, self._policy.blend, self._weights)
        if self._policy.exact_terms is not None:
            ranking = exact_terms.protect(ranking, self._query, self._policy.exact_terms)
        return ranking

    def shown(self, ranking: Ranking, scores: Scores, trace: list[Traced] | None = None) -> Ranking:
        """Return what pages are cut from: the relevant hits of ``ranking``, after all stages.

        Hits of settled pages keep their places. ``trace`` gets the state after each stage.
        """
        kept = ordering.keep_relevant(ranking, self._minimum(scores))
        if self._after is None and not self._placed:
            return kept
        hits = {self._number[hit.candidate.position]: hit for hit in kept.hits}
        numbers = [self._number[hit.candidate.position] for hit in self._placed]
        placed = [n for n in numbers if n in hits]
        if self._after is not None:
            given = self._on_scale([hit.score for hit in kept.hits], scores)
            kept = stages_after.arrange(hits, given, self._after, placed, trace) or kept
        settled = [hit for hit, n in zip(self._placed, numbers, strict=True) if n in hits]
        return ordering.continued(settled, kept)

    def stopped(self, scores: Scores) -> Stopped:
        """Return why no more than ``scores`` was read."""
        scored = sum(raw is not None for raw in scores.raw)
        if scored == len(scores.raw):
            return "all"
        if scored < self._asked:
            return "deadline"
        return "effort" if self._wants_more else "settled"

    def _take(self, indices: Sequence[int]) -> Sequence[int]:
        self._asked += len(indices)
        return indices

    def _effort(self, scores: Scores) -> Effort | None:
        """Return how much is read with ``scores`` so far; None for all in one call."""
        effort, reranker = self._policy.effort, self._reranker
        if effort == "full" or reranker.listwise:
            return None
        if isinstance(effort, Effort):
            return effort
        is_measured = (
            reranker.local
            and reranker.batch is not None
            and scores.calibrated
            and any(candidate.branches for candidate in self._readable)
            and self._policy.blend.method in _MEASURED
        )
        return Effort() if is_measured and not self._scores_all else None

    def _wanted(self, scores: Scores, effort: Effort, size: int) -> list[int]:
        """Return the indices of the texts that are worth reading next."""
        placed = {hit.candidate.position for hit in self._placed}
        relevance = self._decisive(scores)
        batch = reading.next_batch(
            self._readable,
            relevance,
            self._policy.blend,
            size=size,
            tolerance=effort.tolerance,
            placed={n for n, c in enumerate(self._readable) if c.position in placed},
            weights=self._weights,
            after=None if self._after is None else partial(self._after_stages, self._after, scores),
        )
        if not batch and (minimum := self._minimum(scores)) is not None:
            batch = list(self._untested(scores, relevance, minimum)[:size])
        return list(dict.fromkeys(self._index[self._readable[n].text] for n in batch))

    def _after_stages(
        self, stages: Prepared, scores: Scores, final: Sequence[float]
    ) -> tuple[Array, Array]:
        """Return the ``final`` scores of readable candidates after all stages, and their slopes."""
        import numpy as np

        readable = np.array([self._number[candidate.position] for candidate in self._readable])
        best_first = np.argsort(-np.asarray(final), kind="stable")
        order, given = readable[best_first], np.zeros(stages.count)
        given[order] = self._on_scale(np.asarray(final)[best_first].tolist(), scores)
        placed = [self._number[hit.candidate.position] for hit in self._placed]
        rest = [n for n in order.tolist() if n not in placed]
        _, result = stages.apply(rest, given, placed)
        return result[readable], stages.slopes()[readable]

    def _on_scale(self, final: Sequence[float], scores: Scores) -> list[float]:
        blend = self._policy.blend
        return stages_after.on_scale(final, blend, calibrated=scores.calibrated)

    def _minimum(self, scores: Scores) -> float | None:
        """Return the relevance that hits need; a scale that is suspect is not tested."""
        return None if "scale_suspect" in scores.notes else self._policy.min_relevance

    def _untested(
        self, scores: Scores, relevance: Sequence[float | None], minimum: float
    ) -> Sequence[int]:
        """Return candidates to read so that no hit of the page can still fail the ``minimum``.

        Hits that were not read follow those that pass, unless a stage puts them elsewhere.
        """
        if self._after is None:
            known = self._by_candidate(self._readable, scores).relevance
            passing = sum(value is not None and value >= minimum for value in known)
            most = reading.most_relevant(self._readable, relevance, self._weights)
            return most if passing < self._page_end else ()
        page = self.shown(self.ranking(scores), scores).hits[: self._page_end]
        unread = {hit.candidate.position for hit in page if hit.relevance is None}
        return [n for n, one in enumerate(self._readable) if one.position in unread]

    def _settle(self, scores: Scores) -> bool:
        """Keep the hits of the page that is settled; return whether a further page follows."""
        if self._page_end >= self._end or None not in scores.raw:
            return False
        shown = self.shown(self.ranking(scores), scores)
        self._placed = shown.hits[: self._page_end]
        self._page_end = min(self._page_end + self._limit, self._end)
        return True

    def _decisive(self, scores: Scores) -> list[float | None]:
        """Return the relevance of each readable candidate as it enters the blend."""
        of_texts = ordering.decisive(scores, self._policy.blend)
        return [of_texts[self._index[candidate.text]] for candidate in self._readable]

    def _estimates(self, scores: Scores) -> list[Estimate | None]:
        """Return the estimates by candidate; None for all if they are not wanted."""
        of_readable: list[Estimate | None] = [None] * len(self._readable)
        trusted = scores.calibrated and self._policy.blend.uses_relevance
        if not self._reranker.listwise and (trusted or self._effort(scores) is not None):
            of_readable = estimates(self._readable, self._decisive(scores), self._weights)
        found = iter(of_readable)
        return [next(found) if candidate.text else None for candidate in self._candidates]

    def _by_candidate(self, candidates: Sequence[Candidate], scores: Scores) -> Scores:
        """Return the scores of texts as scores of ``candidates``."""
        indices = [self._index.get(candidate.text) for candidate in candidates]
        return Scores(
            [None if n is None else scores.raw[n] for n in indices],
            [None if n is None else scores.relevance[n] for n in indices],
            calibrated=scores.calibrated,
        )
