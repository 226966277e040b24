"""Blend relevance with the first pass: pure functions.

A cross-encoder alone is best on its own domain; off it, it loses what BM25 and the vectors know.
Its confidence in a query distinguishes the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vecdb_rerank.model import BranchWeight, Candidate
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import logit
from vecdb_rerank.ranking import smoothing

# A reranker is unsure and certain of a query at these relevances of its best document. All
# constants were chosen by measurement (benchmarks/NOTES.md).
UNSURE, CERTAIN = 0.79, 0.935
# The weight of an unsure reranker against two branches (BM25 and dense), or against one.
MIN_WEIGHT_TWO_BRANCHES, MIN_WEIGHT_ONE_BRANCH = 0.3, 0.5
# A hit that a branch lacks is set this far below the branch's last hit, as a share of its range.
MISSING = 0.1
# A hit's first-pass share by rank, if only a fused list is known: 5 / (5 + rank), rank from 0.
RANK_CONSTANT = 5
# The relevance at rank 1 of a reranker without calibration; at rank n it is 1/sqrt(n) of that.
BEST_BY_RANK = 0.6
# Reciprocal rank fusion of reranker and branches (Cormack et al., 2009, use 60).
RRF_CONSTANT = 10
Weights = Mapping[str, BranchWeight]
EQUAL: Weights = MappingProxyType({})


def final_scores(
    candidates: Sequence[Candidate],
    relevance: Sequence[float],
    blend: Blend,
    weights: Weights = EQUAL,
) -> list[float]:
    """Return the final score (0 to 1) of each candidate, given in first-pass order.

    ``weights`` are those of the branches in the first pass, by name; without any, all are equal.
    """
    if blend.method == "replace" or not candidates:
        return list(relevance)
    unsure = 1 - confidence(relevance)
    return smoothing.smooth_scores(
        _blended(candidates, relevance, blend, weights),
        [candidate.text for candidate in candidates],
        feedback=blend.feedback * unsure,
        smoothing=blend.smoothing * unsure,
    )


def relevance_by_rank(raw: Sequence[float]) -> list[float]:
    """Return a relevance (0 to 0.6) for each raw score from the order of the scores alone.

    For scores on an unknown scale: no strictly increasing change of ``raw`` changes the result.
    The values follow the mean relevance of a calibrated reranker by rank (benchmarks/NOTES.md);
    0.6 leaves the reranker unsure of the query.
    """
    order = sorted(range(len(raw)), key=lambda n: -raw[n])
    relevance = [0.0] * len(raw)
    for rank, n in enumerate(order, start=1):
        relevance[n] = BEST_BY_RANK / math.sqrt(rank)
    return relevance


def _blended(
    candidates: Sequence[Candidate], relevance: Sequence[float], blend: Blend, weights: Weights
) -> list[float]:
    """Blend each candidate on its own."""
    if blend.method == "rrf":
        return _rrf(candidates, relevance, blend.weight, _branches(candidates, weights))
    weight = reranker_weight(candidates, relevance, blend)
    first = first_pass_shares(candidates, weights)
    return [weight * r + (1 - weight) * f for r, f in zip(relevance, first, strict=True)]


def reranker_weight(
    candidates: Sequence[Candidate], relevance: Sequence[float], blend: Blend
) -> float:
    """Return the weight (0 to 1) of a candidate's relevance in its score before smoothing."""
    if blend.method == "replace":
        return 1.0
    if blend.method != "confidence":
        return blend.weight
    two = len(_branches(candidates, EQUAL)) > 1
    least = MIN_WEIGHT_TWO_BRANCHES if two else MIN_WEIGHT_ONE_BRANCH
    return least + (1 - least) * confidence(relevance)


def own_share(candidates: Sequence[Candidate], relevance: Sequence[float], blend: Blend) -> float:
    """Return how much a candidate's final score changes with its relevance, as a share (0 to 1)."""
    weight = reranker_weight(candidates, relevance, blend)
    if blend.method == "replace":
        return weight
    unsure = 1 - confidence(relevance)
    return weight * (1 - smoothing.strength(len(candidates)) * unsure * blend.smoothing)


def first_pass_shares(candidates: Sequence[Candidate], weights: Weights = EQUAL) -> list[float]:
    """Return the share (0 to 1) of each candidate in the first pass, in whose order they are.

    It is the mean of the branches' normalised scores by their ``weights``, or a share by rank if
    the branches are unknown.
    """
    branches = _branches(candidates, weights)
    return _branch_shares(candidates, branches) if branches else _rank_shares(len(candidates))


def confidence(relevance: Sequence[float]) -> float:
    """Return how sure (0 to 1) a reranker is of a query, by its best document's relevance."""
    unsure, certain = logit(UNSURE), logit(CERTAIN)
    return min(1.0, max(0.0, (logit(max(relevance)) - unsure) / (certain - unsure)))


def min_max(scores: Sequence[float]) -> list[float]:
    """Scale scores to 0 to 1; equal scores all become 1."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [1.0 if high == low else (s - low) / (high - low) for s in scores]


def _branches(candidates: Sequence[Candidate], weights: Weights) -> dict[str, float]:
    """Return the branches that found a candidate, with their weights, which sum to 1."""
    names = sorted({name for candidate in candidates for name in candidate.branches})
    given = {name: weights[name].share if weights else 1.0 for name in names}
    total = sum(given.values())
    return {name: share / total if total else 1 / len(names) for name, share in given.items()}


def _branch_shares(candidates: Sequence[Candidate], branches: Mapping[str, float]) -> list[float]:
    """Return the weighted mean of the branches' normalised scores; 0 for a hit that one lacks."""
    columns = [_branch_share(candidates, name) for name in branches]
    return [
        sum(weight * share for weight, share in zip(branches.values(), shares, strict=True))
        for shares in zip(*columns, strict=True)
    ]


def _branch_share(candidates: Sequence[Candidate], name: str) -> list[float]:
    found = [c.branches[name].score for c in candidates if name in c.branches]
    # A single hit, or equal ones, have no range; what the branch lacks still ranks below them.
    floor = min(found) - MISSING * ((max(found) - min(found)) or 1.0)
    return min_max([c.branches[name].score if name in c.branches else floor for c in candidates])


def _rank_shares(n: int) -> list[float]:
    return [RANK_CONSTANT / (RANK_CONSTANT + rank) for rank in range(n)]


def _rrf(
    candidates: Sequence[Candidate],
    relevance: Sequence[float],
    weight: float,
    branches: Mapping[str, float],
) -> list[float]:
    by_relevance = sorted(range(len(candidates)), key=lambda n: -relevance[n])
    reranked = {n: rank for rank, n in enumerate(by_relevance, start=1)}
    scores = []
    for n, candidate in enumerate(candidates):
        known = [(branches[name], hit.rank) for name, hit in candidate.branches.items()]
        ranks = known if branches else [(1.0, n + 1)]
        first = sum(share / (RRF_CONSTANT + rank) for share, rank in ranks)
        scores.append(weight / (RRF_CONSTANT + reranked[n]) + (1 - weight) * first)
    return scores
