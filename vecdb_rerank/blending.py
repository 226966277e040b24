"""Joining what the reranker says with what the first pass knew: pure functions.

A cross-encoder alone is best where it was trained and throws away what BM25 and the vectors knew
where it was not. How confident it is on this query tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank import neighbours
from vecdb_rerank.calibration import logit
from vecdb_rerank.candidates import Candidate
from vecdb_rerank.errors import ConfigurationError

Method = Literal["confidence", "convex", "rrf", "replace"]
# The methods that `Blend.weight` is for.
WEIGHTED = ("convex", "rrf")
# Chosen by measurement (docs/quality.md): between which relevances of its best document a reranker
# goes from unsure to certain of a query.
UNSURE, CERTAIN = 0.79, 0.935
# The least weight of an unsure reranker against two witnesses (BM25 and dense), or against one.
AGAINST_TWO, AGAINST_ONE = 0.3, 0.5
# How far below a branch's least hit one that it lacks is set, in parts of the branch's range.
MISSING = 0.1
# A hit's share by its rank alone, where only a fused list is known: 5 / (5 + rank), from 0.
RANK_CONSTANT = 5
# Reciprocal rank fusion of reranker and branches (Cormack et al., 2009, use 60).
RRF_CONSTANT = 10


@dataclass(frozen=True, slots=True)
class Blend:
    """How the final score comes from relevance and first pass.

    ``confidence`` (default) is ``w * r + (1 - w) * f``: r the relevance, f the first pass (the
    mean of its branches' normalised scores, or a share by rank), and w between 0.3 and 1, growing
    with the best relevance of the query from 0.79 to 0.935. ``convex`` is the same with the fixed
    ``weight``. ``rrf`` fuses
    the ranks of reranker and branches, the reranker's with ``weight`` against 1 - weight.
    ``replace`` is the relevance alone.

    Except for ``replace``, the documents' likeness to each other then corrects the scores, the
    more the less sure the reranker is of the query (`neighbours.adjusted`).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    method: Method = "confidence"
    """The formula."""
    weight: float = 0.5
    """The reranker's, for ``convex`` and ``rrf`` (0 to 1)."""
    feedback: float = 0.25
    """The weight of a document's likeness to the three best, against its own score (0 to 1)."""
    smoothing: float = 0.4
    """The share of its nearest neighbours in a document's score (0 to 1)."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            allowed = ", ".join(get_args(Method))
            raise ConfigurationError(f"blend.method: {self.method!r} is none of {allowed}")
        for name in ("weight", "feedback", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"blend.{name}: {getattr(self, name)} is not in 0 to 1")


def final_scores(
    candidates: Sequence[Candidate], relevance: Sequence[float], blend: Blend
) -> list[float]:
    """The final score (0 to 1) of each candidate, given in first-pass order with its relevance."""
    if blend.method == "replace" or not candidates:
        return list(relevance)
    unsure = 1 - confidence(relevance)
    return neighbours.adjusted(
        _blended(candidates, relevance, blend),
        [candidate.text for candidate in candidates],
        feedback=blend.feedback * unsure,
        smoothing=blend.smoothing * unsure,
    )


def _blended(
    candidates: Sequence[Candidate], relevance: Sequence[float], blend: Blend
) -> list[float]:
    """Each candidate by itself."""
    if blend.method == "rrf":
        return _rrf(candidates, relevance, blend.weight)
    witnesses = _branch_names(candidates)
    first = _branch_shares(candidates, witnesses) if witnesses else _rank_shares(len(candidates))
    weight = blend.weight
    if blend.method == "confidence":
        least = AGAINST_TWO if len(witnesses) > 1 else AGAINST_ONE
        weight = least + (1 - least) * confidence(relevance)
    return [weight * r + (1 - weight) * f for r, f in zip(relevance, first, strict=True)]


def confidence(relevance: Sequence[float]) -> float:
    """How sure (0 to 1) a reranker is of a query: by the relevance of the best document."""
    unsure, certain = logit(UNSURE), logit(CERTAIN)
    return min(1.0, max(0.0, (logit(max(relevance)) - unsure) / (certain - unsure)))


def min_max(scores: Sequence[float]) -> list[float]:
    """Scores on 0 to 1; all alike count fully."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [1.0 if high == low else (s - low) / (high - low) for s in scores]


def _branch_names(candidates: Sequence[Candidate]) -> list[str]:
    return sorted({name for candidate in candidates for name in candidate.branches})


def _branch_shares(candidates: Sequence[Candidate], names: Sequence[str]) -> list[float]:
    """The mean of the branches' normalised scores; a hit that a branch lacks has none of it."""
    columns = [_branch_share(candidates, name) for name in names]
    return [sum(shares) / len(names) for shares in zip(*columns, strict=True)]


def _branch_share(candidates: Sequence[Candidate], name: str) -> list[float]:
    found = [c.branches[name].score for c in candidates if name in c.branches]
    # A single hit, or equal ones, have no range: what the branch lacks is below them all the same.
    floor = min(found) - MISSING * ((max(found) - min(found)) or 1.0)
    return min_max([c.branches[name].score if name in c.branches else floor for c in candidates])


def _rank_shares(n: int) -> list[float]:
    return [RANK_CONSTANT / (RANK_CONSTANT + rank) for rank in range(n)]


def _rrf(candidates: Sequence[Candidate], relevance: Sequence[float], weight: float) -> list[float]:
    by_relevance = sorted(range(len(candidates)), key=lambda n: -relevance[n])
    reranked = {n: rank for rank, n in enumerate(by_relevance, start=1)}
    names = _branch_names(candidates)
    scores = []
    for n, candidate in enumerate(candidates):
        ranks = [candidate.branches[name].rank for name in names if name in candidate.branches]
        known = ranks if names else [n + 1]
        first = sum(1 / (RRF_CONSTANT + rank) for rank in known) / max(1, len(names))
        scores.append(weight / (RRF_CONSTANT + reranked[n]) + (1 - weight) * first)
    return scores
