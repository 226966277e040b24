"""Join ranked lists as a database would: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from vecdb_rerank.model import BranchHit, HitId
from vecdb_rerank.ranking import branch_weights
from vecdb_rerank.ranking.blending import min_max
from vecdb_rerank.request import BRANCHES, Fusion


def branch(hits: Iterable[tuple[HitId, float]]) -> dict[HitId, BranchHit]:
    """Return a branch's hits by id, ranked by score, ties by id.

    Databases order ties differently from call to call.
    """
    return {i: BranchHit(rank, score) for rank, (i, score) in enumerate(by_score(hits), start=1)}


def fuse(
    branches: Sequence[Mapping[HitId, BranchHit]], fusion: Fusion
) -> list[tuple[HitId, float]]:
    """Fuse the branches (bm25, dense) as a database does.

    Returns ids with scores, best first, ties by id.
    """
    scored: dict[HitId, float] = {}
    for hits, weight in zip(branches, _weights(fusion), strict=True):
        for hit_id, share in _contributions(hits, fusion).items():
            scored[hit_id] = scored.get(hit_id, 0.0) + weight * share
    return by_score(scored.items())


def _weights(fusion: Fusion) -> Sequence[float]:
    """Return the factors of (bm25, dense); equal branches count 1 each in rrf, as in a database."""
    if fusion.method != "rrf":
        return branch_weights.prior(fusion)
    return fusion.fixed or [len(BRANCHES) * share for share in branch_weights.prior(fusion)]


def _contributions(hits: Mapping[HitId, BranchHit], fusion: Fusion) -> dict[HitId, float]:
    if fusion.method == "rrf":
        return {i: 1.0 / (fusion.rank_constant + hit.rank) for i, hit in hits.items()}
    scores = [hit.score for hit in hits.values()]
    normalise = _l2 if fusion.method == "l2" else min_max
    return dict(zip(hits, normalise(scores), strict=True))


def _l2(scores: Sequence[float]) -> list[float]:
    norm = math.sqrt(sum(s * s for s in scores))
    return [0.0 if norm == 0 else s / norm for s in scores]


def by_score(hits: Iterable[tuple[HitId, float]]) -> list[tuple[HitId, float]]:
    """Return ids with their scores, best first, ties by id."""
    return sorted(hits, key=lambda hit: (-hit[1], tie_breaker(hit[0])))


def tie_breaker(hit_id: HitId) -> tuple[bool, HitId]:
    """Return a sort key for ids of both types: numbers come first."""
    return isinstance(hit_id, str), hit_id
