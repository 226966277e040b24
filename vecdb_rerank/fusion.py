"""Fusing ranked lists and ordering candidates by their scores: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from vecdb_rerank.blending import Blend, final_scores, min_max
from vecdb_rerank.candidates import BranchHit, Candidate, HitId, RankedHit, Ranking, Scores
from vecdb_rerank.search import Fusion

# How far apart unscored hits are set below the last scored one.
UNSCORED_STEP = 1e-6


def branch(hits: Iterable[tuple[HitId, float]]) -> dict[HitId, BranchHit]:
    """A branch's hits by id, ranked by score; equal scores are ranked by id.

    The database's own order of them is another one from call to call.
    """
    return {i: BranchHit(rank, score) for rank, (i, score) in enumerate(by_score(hits), start=1)}


def fuse(
    branches: Sequence[Mapping[HitId, BranchHit]], fusion: Fusion
) -> list[tuple[HitId, float]]:
    """Join the branches (bm25, dense) as a database would: ids with scores, best first.

    Ties are broken by id, so that equal input gives equal output.
    """
    scored: dict[HitId, float] = {}
    for hits, weight in zip(branches, _weights(fusion), strict=True):
        for hit_id, share in _contributions(hits, fusion).items():
            scored[hit_id] = scored.get(hit_id, 0.0) + weight * share
    return by_score(scored.items())


def _weights(fusion: Fusion) -> tuple[float, float]:
    return (fusion.weights or (1.0, 1.0)) if fusion.method == "rrf" else fusion.shares


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
    """Ids with their scores, best first, ties by id."""
    return sorted(hits, key=lambda hit: (-hit[1], tie_breaker(hit[0])))


def tie_breaker(hit_id: HitId) -> tuple[bool, HitId]:
    """A key that orders ids of both kinds: numbers first."""
    return isinstance(hit_id, str), hit_id


def first_pass_order(candidates: Sequence[Candidate], rising: bool = False) -> list[Candidate]:
    """Candidates by the database's score, ties by id; ``rising`` where less is better (distances).

    Databases order equal scores differently from call to call; pages must not.
    """
    sign = 1.0 if rising else -1.0
    return sorted(candidates, key=lambda c: (sign * c.score, tie_breaker(c.id)))


def unchanged(candidates: Sequence[Candidate]) -> Ranking:
    """The first-pass order with the database's own scores."""
    return Ranking.of(RankedHit(c, c.score) for c in candidates)


def rerank(candidates: Sequence[Candidate], scores: Scores, blend: Blend) -> Ranking:
    """Order ``candidates`` (in first-pass order) by their final scores, ties in that order.

    Hits without a score of the reranker follow in first-pass order, a step below the last scored
    one each, so that scores never increase down the list.
    """
    known = [
        (candidate, raw, relevance)
        for candidate, raw, relevance in zip(candidates, scores.raw, scores.relevance, strict=True)
        if raw is not None and relevance is not None
    ]
    final = final_scores([c for c, _, _ in known], [rel for _, _, rel in known], blend)
    scored = [
        RankedHit(c, score, raw, rel) for (c, raw, rel), score in zip(known, final, strict=True)
    ]
    # The raw score tells apart what a relevance of 1.0 no longer does; the sort is stable.
    scored.sort(key=lambda hit: (-hit.score, -(hit.raw or 0.0)))
    last = scored[-1].score if scored else 0.0
    unscored = [c for c, raw in zip(candidates, scores.raw, strict=True) if raw is None]
    rest = (RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(unscored, start=1))
    return Ranking.of((*scored, *rest))


def followed(window: Ranking, rest: Sequence[Candidate], rescored: bool) -> Ranking:
    """The hits past a window, in the order they have, a step below its last hit each.

    Where the window kept the database's scores (not ``rescored``), they keep theirs too.
    """
    if not rescored:
        return unchanged(rest)
    last = window.hits[-1].score if window.hits else 0.0
    return Ranking.of(RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(rest, start=1))


def keep_relevant(ranking: Ranking, minimum: float | None) -> Ranking:
    """Drop scored hits below ``minimum`` relevance; hits not scored stay."""
    if minimum is None:
        return ranking
    return Ranking.of(h for h in ranking.hits if h.relevance is None or h.relevance >= minimum)
