"""The candidates of one query with a reranker's scores; the order under any blend follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.model import BranchWeight, Candidate, HitId, Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import exact_terms, ordering


@dataclass(frozen=True, slots=True)
class Scored:
    """One query's ``candidates`` in first-pass order, and their ``scores`` in the same order.

    ``names`` are the documents' own ids by hit, ``branch_weights`` those of the search.
    """

    query: str
    candidates: Sequence[Candidate]
    scores: Scores
    names: Mapping[HitId, str]
    branch_weights: Mapping[str, BranchWeight] = field(default_factory=dict)

    def order(self, blend: Blend, policy: Policy) -> list[str]:
        """Return the documents' ids in the order that a search with ``blend`` gives them."""
        ranking = ordering.rerank(self.candidates, self.scores, blend, self.branch_weights)
        if policy.exact_terms is not None:
            ranking = exact_terms.protect(ranking, self.query, policy.exact_terms)
        return list(dict.fromkeys(self.names[hit.candidate.id] for hit in ranking.hits))
