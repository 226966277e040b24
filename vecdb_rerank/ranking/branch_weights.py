"""Decide how much each branch of a hybrid search counts: pure functions.

Equal weights make a hybrid search worse than its better branch wherever the other one is weak. Two
things tell that a branch is weak, without any judgment:

* The query: a BM25 list whose scores hardly fall found no document that holds more of the query's
  rare terms than many others do. The same does not hold for vectors, whose similarities are close
  together in every list.
* The collection: a branch that does not find a stored document by a sentence of it does not work
  here, such as vectors of another model (`Fusion.self_retrieval`).

All constants were chosen by measurement (benchmarks/NOTES.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vecdb_rerank.model import BranchHit, BranchWeight, HitId
from vecdb_rerank.request import BRANCHES, Fusion

Branches = Mapping[str, Mapping[HitId, BranchHit]]

# BM25 counts fully from this relative fall of its scores, from the first to the tenth hit.
STEEP, TENTH = 0.35, 10
# A branch that finds documents this much more rarely than the other counts nothing, or fully.
LOST, SOUND = 0.3, 0.7
# Below this share of the other's self-retrieval, a branch is reported as weak.
WEAK = 0.5
# If the better branch finds fewer, sentences are no queries for these documents (pages of tables),
# and only a branch that finds none of them is weak.
TELLING, NONE_FOUND = 0.6, 0.03


def decide(branches: Branches, fusion: Fusion) -> dict[str, BranchWeight]:
    """Return the weight of ``bm25`` and ``dense`` for the hits that they found for a query.

    A branch without hits gets 0. Neither the scale of a branch's scores nor the order of the
    branches changes a weight.
    """
    weights: dict[str, tuple[float, str]]
    if fusion.weights != "auto":
        why = "equal weights" if fusion.fixed is None else "given in fusion.weights"
        weights = {name: (w, why) for name, w in zip(BRANCHES, prior(fusion), strict=True)}
        return _shared(weights)
    silent = [name for name in BRANCHES if not branches.get(name)]
    if silent:
        weights = {name: (float(name not in silent), "the only one with hits") for name in BRANCHES}
        return _shared({**weights, **dict.fromkeys(silent, (0.0, "no hits"))})
    fall = steepness([hit.score for hit in branches["bm25"].values()])
    bm25 = 0.5 * min(1.0, fall / STEEP)
    weights = {
        "bm25": (bm25, f"its scores fall by {fall:.0%} over {TENTH} hits"),
        "dense": (1 - bm25, "the rest"),
    }
    for name, factor in zip(BRANCHES, reliability(fusion.self_retrieval), strict=True):
        if factor < 1:
            why = f"a weak branch by fusion.self_retrieval, {factor:.0%} of its weight"
            weights[name] = (weights[name][0] * factor, why)
    return _shared(weights)


def prior(fusion: Fusion) -> tuple[float, float]:
    """Return the weights of (bm25, dense) that are known before a search; they sum to 1.

    They choose the candidates, of which a reranker misses none by a branch that counts little.
    """
    if fusion.fixed is not None:
        bm25, dense = fusion.fixed
    elif fusion.weights is None:
        bm25, dense = 1.0, 1.0
    else:
        bm25, dense = reliability(fusion.self_retrieval)
    return bm25 / (bm25 + dense), dense / (bm25 + dense)


def in_fusion(fusion: Fusion) -> bool:
    """Check whether a database that fuses without weights would fuse otherwise."""
    bm25, dense = prior(fusion)
    return fusion.fixed is not None or bm25 != dense


def steepness(scores: Collection[float]) -> float:
    """Return how much scores fall from the first to the tenth, relative to the first (0 to 1).

    It is 1 if there are fewer than ten: no other document has any term of the query.
    """
    best = sorted(scores, reverse=True)[:TENTH]
    if not best or best[0] <= 0:
        return 0.0
    return 1 - max(0.0, best[-1]) / best[0] if len(best) == TENTH else 1.0


def reliability(self_retrieval: tuple[float, float] | None) -> tuple[float, float]:
    """Return the share of its weight (0 to 1) that (bm25, dense) keep in this collection."""
    if self_retrieval is None or not _is_telling(self_retrieval):
        return 1.0, 1.0
    best = max(self_retrieval)
    bm25, dense = (
        min(1.0, max(0.0, (found / best - LOST) / (SOUND - LOST))) for found in self_retrieval
    )
    return bm25, dense


def weak_branch(fusion: Fusion) -> str | None:
    """Return a sentence about a branch that finds far fewer stored documents than the other."""
    if fusion.self_retrieval is None or not _is_telling(fusion.self_retrieval):
        return None
    (weak, name), (sound, other) = sorted(zip(fusion.self_retrieval, BRANCHES, strict=True))
    if weak >= WEAK * sound:
        return None
    return (
        f"by a sentence of a stored document, {name} finds it far more rarely than {other} "
        f"(mean reciprocal rank {weak:.2f}, {sound:.2f})"
    )


def _is_telling(self_retrieval: tuple[float, float]) -> bool:
    """Check whether the values tell a weak branch from documents that no sentence finds."""
    return max(self_retrieval) >= TELLING or min(self_retrieval) < NONE_FOUND


def _shared(weights: Mapping[str, tuple[float, str]]) -> dict[str, BranchWeight]:
    """Return the weights scaled to sum to 1; equal ones if all are 0."""
    total = sum(weight for weight, _ in weights.values())
    return {
        name: BranchWeight(weight / total if total else 1 / len(weights), why)
        for name, (weight, why) in weights.items()
    }
