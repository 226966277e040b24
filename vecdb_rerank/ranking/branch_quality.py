"""Compare the branches of a hybrid search by a reranker's relevance: pure functions.

Over the queries of a collection, a reranker orders the branches as judgments do, though it is often
wrong about one document. That needs queries of users, but no judgments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.request import BRANCHES

FIRST = 10
"""The hits of each branch that are compared."""


def ndcg(
    candidates: Sequence[Candidate], grades: Sequence[float | None]
) -> tuple[float, float] | None:
    """Return NDCG@10 (0 to 1) of the hits of (bm25, dense) by the ``grades`` of ``candidates``.

    A missing grade counts 0. The best order is that of all candidates (Jarvelin and Kekalainen,
    2002). None if a branch has no hits, or no grade is above 0.
    """
    gains = [grade or 0.0 for grade in grades]
    best = sum(map(_discounted, sorted(gains, reverse=True)[:FIRST], range(1, FIRST + 1)))
    found = {name for candidate in candidates for name in candidate.branches}
    if best == 0 or not found.issuperset(BRANCHES):
        return None
    bm25, dense = (
        sum(
            _discounted(gain, candidate.branches[name].rank)
            for candidate, gain in zip(candidates, gains, strict=True)
            if name in candidate.branches and candidate.branches[name].rank <= FIRST
        )
        / best
        for name in BRANCHES
    )
    return bm25, dense


def of_ranking(ranking: Ranking) -> tuple[float, float] | None:
    """Return the `ndcg` of a reranked search by relevance, estimated for what was not read."""
    relevance = [
        hit.estimate.relevance if hit.relevance is None and hit.estimate else hit.relevance
        for hit in ranking.hits
    ]
    return ndcg([hit.candidate for hit in ranking.hits], relevance)


def _discounted(gain: float, rank: int) -> float:
    return gain / math.log2(rank + 1)
