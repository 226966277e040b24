"""Notice, over many searches, that a reranker finds one branch of a hybrid search far worse."""

from __future__ import annotations

import threading

from vecdb_rerank.model import Ranking
from vecdb_rerank.ranking import branch_quality, branch_weights
from vecdb_rerank.request import Fusion

# The searches before anything is said, and about how many the means are taken over.
ENOUGH, MEMORY = 50, 500


class BranchWatch:
    """The mean quality of both branches over recent searches; shared by threads and tasks.

    Old searches fade: queries and collections change. Nothing is changed by itself, so that all
    replicas of a service give the same order.
    """

    def __init__(self) -> None:
        self._count = 0
        self._means = (0.0, 0.0)
        self._lock = threading.Lock()

    def add(self, ranking: Ranking) -> str | None:
        """Record a reranked search; return what to do if one branch is weak by now."""
        quality = branch_quality.of_ranking(ranking)
        if quality is None:
            return None
        with self._lock:
            self._count += 1
            share = 1 / min(self._count, MEMORY)
            bm25, dense = (
                mean + share * (x - mean) for mean, x in zip(self._means, quality, strict=True)
            )
            self._means = bm25, dense
            if self._count < ENOUGH:
                return None
        weak = branch_weights.weak_branch(Fusion(branch_quality=(bm25, dense)))
        if weak is None:
            return None
        return f"{weak}; set search.fusion.branch_quality = [{bm25:.2f}, {dense:.2f}]"
