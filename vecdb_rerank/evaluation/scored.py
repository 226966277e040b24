"""The candidates of one query with a reranker's scores; the order under any blend follows."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.model import BranchWeight, Candidate, HitId, Ranking, Scores
from vecdb_rerank.outcome import ExplainedHit
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.after import Stage
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import after, exact_terms, ordering
from vecdb_rerank.ranking.after_steps import prepare


@dataclass(frozen=True, slots=True)
class Scored:
    """One query's ``candidates`` in first-pass order, and their ``scores`` in the same order.

    ``names`` are the documents' own ids by hit, ``branch_weights`` those of the search.
    ``matching`` are the hits that match the filter of each boost in `Policy.after`.
    """

    query: str
    candidates: Sequence[Candidate]
    scores: Scores
    names: Mapping[HitId, str]
    branch_weights: Mapping[str, BranchWeight] = field(default_factory=dict)
    matching: Sequence[Collection[HitId]] = ()

    def order(self, blend: Blend, policy: Policy) -> list[str]:
        """Return the documents' ids in the order that a search with ``blend`` gives them.

        The stages of ``policy.after`` are applied.
        """
        ranking = ordering.rerank(self.candidates, self.scores, blend, self.branch_weights)
        if policy.exact_terms is not None:
            ranking = exact_terms.protect(ranking, self.query, policy.exact_terms)
        ranking = self._after(ranking, blend, policy.after)
        return list(dict.fromkeys(self.names[hit.candidate.id] for hit in ranking.hits))

    def _after(self, ranking: Ranking, blend: Blend, stages: Sequence[Stage]) -> Ranking:
        if not stages:
            return ranking
        matching = [{c.position for c in self.candidates if c.id in ids} for ids in self.matching]
        prepared = prepare(stages, self.query, self.candidates, matching, time.time())
        number = {candidate.position: n for n, candidate in enumerate(self.candidates)}
        hits = {number[hit.candidate.position]: hit for hit in ranking.hits}
        final = [hit.score for hit in ranking.hits]
        scores = after.on_scale(final, blend, calibrated=self.scores.calibrated)
        return after.arrange(hits, scores, prepared) or ranking


def boosted(hits: Sequence[ExplainedHit]) -> list[set[HitId]]:
    """Return the hits that match the filter of each boost, from an explained search."""
    effects = {hit.id: [e for e in hit.after if e.stage == "boost"] for hit in hits}
    count = max((len(found) for found in effects.values()), default=0)
    return [
        {i for i, found in effects.items() if len(found) > n and found[n].value is not None}
        for n in range(count)
    ]
