"""Fusing ranked lists and ordering candidates by their scores: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

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
    A relevance that is not calibrated counts by rank, an estimate stands in for one that is
    missing. Hits with neither follow in first-pass order, each a step below the one before, so that
    scores never increase.
    """
    known: list[RankedHit] = []
    relevance: list[float] = []
    unknown: list[Candidate] = []
    estimates = scores.estimates or [None] * len(candidates)
    for candidate, raw, own, value, estimate in zip(
        candidates, scores.raw, scores.relevance, decisive(scores, blend), estimates, strict=True
    ):
        if value is not None:
            known.append(RankedHit(candidate, 0.0, raw, own))
            relevance.append(value)
        elif estimate is not None:
            known.append(RankedHit(candidate, 0.0, estimate=estimate))
            relevance.append(estimate.relevance)
        else:
            unknown.append(candidate)
    final = final_scores([hit.candidate for hit in known], relevance, blend, weights)
    placed = [hit.with_score(score) for hit, score in zip(known, final, strict=True)]
    # The raw score distinguishes hits whose relevance is rounded to 1.0; the sort is stable.
    placed.sort(key=lambda hit: (-hit.score, math.inf if hit.raw is None else -hit.raw))
    last = placed[-1].score if placed else 0.0
    rest = (RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(unknown, start=1))
    return Ranking.of((*placed, *rest))


def decisive(scores: Scores, blend: Blend) -> list[float | None]:
    """Return the relevance that enters the blend, None for what was not scored.

    One that is not calibrated counts by rank.
    """
    if scores.calibrated or not blend.uses_relevance:
        return list(scores.relevance)
    scored = [n for n, raw in enumerate(scores.raw) if raw is not None]
    by_rank = relevance_by_rank([raw for raw in scores.raw if raw is not None])
    result: list[float | None] = [None] * len(scores.raw)
    for n, value in zip(scored, by_rank, strict=True):
        result[n] = value
    return result


def followed(window: Ranking, rest: Sequence[Candidate], rescored: bool) -> Ranking:
    """Return the hits past a window in their order, each a step below the one before.

    If the window kept the database's scores (not ``rescored``), they keep theirs too.
    """
    if not rescored:
        return unchanged(rest)
    last = window.hits[-1].score if window.hits else 0.0
    return Ranking.of(RankedHit(c, last - UNSCORED_STEP * n) for n, c in enumerate(rest, start=1))


def keep_relevant(ranking: Ranking, minimum: float | None) -> Ranking:
    """Drop scored hits below ``minimum`` relevance; hits that were not scored follow the others."""
    if minimum is None:
        return ranking
    passing = [h for h in ranking.hits if h.relevance is not None and h.relevance >= minimum]
    unscored = [h for h in ranking.hits if h.relevance is None]
    return Ranking.of(_falling([*passing, *unscored]))


def continued(placed: Sequence[RankedHit], ranking: Ranking) -> Ranking:
    """Return ``ranking`` behind the hits of earlier pages, which keep their places and scores."""
    if not placed:
        return ranking
    by_position = {hit.candidate.position: hit for hit in ranking.hits}
    kept = [by_position.pop(hit.candidate.position).with_score(hit.score) for hit in placed]
    return Ranking.of(_falling([*kept, *by_position.values()]))


def _falling(hits: Sequence[RankedHit]) -> list[RankedHit]:
    """Return ``hits`` with no score above that of the hit before."""
    lowest = accumulate((hit.score for hit in hits), min)
    return [hit.with_score(score) for hit, score in zip(hits, lowest, strict=True)]
