"""Fusing ranked lists and ordering candidates by their scores: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vecdb_rerank.candidates import BranchHit, Candidate, HitId, RankedHit, Ranking, Scores
from vecdb_rerank.search import Fusion

# How far apart unscored hits are set below the last scored one.
UNSCORED_STEP = 1e-6


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
    return sorted(scored.items(), key=lambda item: (-item[1], tie_breaker(item[0])))


def _weights(fusion: Fusion) -> tuple[float, float]:
    return (fusion.weights or (1.0, 1.0)) if fusion.method == "rrf" else fusion.shares


def _contributions(hits: Mapping[HitId, BranchHit], fusion: Fusion) -> dict[HitId, float]:
    if fusion.method == "rrf":
        return {i: 1.0 / (fusion.rank_constant + hit.rank) for i, hit in hits.items()}
    scores = [hit.score for hit in hits.values()]
    normalise = _l2 if fusion.method == "l2" else _min_max
    return dict(zip(hits, normalise(scores), strict=True))


def _min_max(scores: Sequence[float]) -> list[float]:
    """Scores on 0 to 1; a branch whose scores are all alike counts fully."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [1.0 if high == low else (s - low) / (high - low) for s in scores]


def _l2(scores: Sequence[float]) -> list[float]:
    norm = math.sqrt(sum(s * s for s in scores))
    return [0.0 if norm == 0 else s / norm for s in scores]


def tie_breaker(hit_id: HitId) -> tuple[bool, HitId]:
    """A key that orders ids of both kinds: numbers first."""
    return isinstance(hit_id, str), hit_id


def first_pass_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates by the database's score, ties by id.

    Databases order equal scores differently from call to call; pages must not.
    """
    return sorted(candidates, key=lambda c: (-c.score, tie_breaker(c.id)))


def unchanged(candidates: Sequence[Candidate]) -> Ranking:
    """The first-pass order with the database's own scores."""
    return Ranking.of(RankedHit(c, c.score) for c in candidates)


def rerank(candidates: Sequence[Candidate], scores: Scores) -> Ranking:
    """Order ``candidates`` (in first-pass order) by the reranker's raw scores.

    The final score is the relevance. Hits without one follow in first-pass order, a step below
    the last scored one each, so that scores never increase down the list.
    """
    scored: list[RankedHit] = []
    unscored: list[Candidate] = []
    for candidate, raw, relevance in zip(candidates, scores.raw, scores.relevance, strict=True):
        if raw is None or relevance is None:
            unscored.append(candidate)
        else:
            scored.append(RankedHit(candidate, relevance, raw, relevance))
    scored.sort(key=lambda hit: -(hit.raw or 0.0))  # stable: ties keep first-pass order
    last = scored[-1].score if scored else 0.0
    rest = (RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(unscored, start=1))
    return Ranking.of((*scored, *rest))


def keep_relevant(ranking: Ranking, minimum: float | None) -> Ranking:
    """Drop scored hits below ``minimum`` relevance; hits not scored stay."""
    if minimum is None:
        return ranking
    return Ranking.of(h for h in ranking.hits if h.relevance is None or h.relevance >= minimum)
