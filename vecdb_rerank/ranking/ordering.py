"""Fusing ranked lists and ordering candidates by their scores: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.model import Candidate, RankedHit, Ranking, Scores
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.blending import EQUAL, Weights, final_scores, relevance_by_rank
from vecdb_rerank.ranking.fusion import tie_breaker

# The distance of unscored hits from the hit before them.
UNSCORED_STEP = 1e-6


def first_pass_order(candidates: Sequence[Candidate], ascending: bool = False) -> list[Candidate]:
    """Sort candidates by score, ties by id; ``ascending`` if less is better (distances).

    Databases order equal scores differently from call to call; pages must not.
    """
    sign = 1.0 if ascending else -1.0
    return sorted(candidates, key=lambda c: (sign * c.score, tie_breaker(c.id)))


def unchanged(candidates: Sequence[Candidate]) -> Ranking:
    """Return ``candidates`` in their order, with the database's own scores."""
    return Ranking.of(RankedHit(c, c.score) for c in candidates)


def rerank(
    candidates: Sequence[Candidate], scores: Scores, blend: Blend, weights: Weights = EQUAL
) -> Ranking:
    """Order ``candidates`` (in first-pass order) by their final scores, ties in that order.

    ``weights`` are those of the branches in the first pass, by name; without any, all are equal.

    A relevance that is not calibrated counts by rank. Hits that the reranker did not score follow
    in first-pass order, each a step below the one before, so that scores never increase.
    """
    known = [
        (candidate, raw, relevance)
        for candidate, raw, relevance in zip(candidates, scores.raw, scores.relevance, strict=True)
        if raw is not None and relevance is not None
    ]
    if scores.calibrated or not blend.uses_relevance:
        relevance = [value for _, _, value in known]
    else:
        relevance = relevance_by_rank([raw for _, raw, _ in known])
    final = final_scores([c for c, _, _ in known], relevance, blend, weights)
    scored = [
        RankedHit(c, score, raw, rel) for (c, raw, rel), score in zip(known, final, strict=True)
    ]
    # The raw score distinguishes hits whose relevance is rounded to 1.0; the sort is stable.
    scored.sort(key=lambda hit: (-hit.score, -(hit.raw or 0.0)))
    last = scored[-1].score if scored else 0.0
    unscored = [c for c, raw in zip(candidates, scores.raw, strict=True) if raw is None]
    rest = (RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(unscored, start=1))
    return Ranking.of((*scored, *rest))


def followed(window: Ranking, rest: Sequence[Candidate], rescored: bool) -> Ranking:
    """Return the hits past a window in their order, each a step below the one before.

    If the window kept the database's scores (not ``rescored``), they keep theirs too.
    """
    if not rescored:
        return unchanged(rest)
    last = window.hits[-1].score if window.hits else 0.0
    return Ranking.of(RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(rest, start=1))


def keep_relevant(ranking: Ranking, minimum: float | None) -> Ranking:
    """Drop scored hits below ``minimum`` relevance; keep hits that were not scored."""
    if minimum is None:
        return ranking
    return Ranking.of(h for h in ranking.hits if h.relevance is None or h.relevance >= minimum)
