"""Decide how much each branch of a hybrid search counts: pure functions.

Equal weights make a hybrid search worse than its better branch wherever the other one is weak. Two
measurements tell, without any judgment, that a branch is weak in a collection:

* It does not find a stored document by a sentence of it (`Fusion.self_retrieval`): vectors of
  another model, or a stemmer of another language.
* A reranker finds its hits worse, over many queries of users (`Fusion.branch_quality`), such as
  BM25's for long questions. Rerankers like the words of the query as BM25 does, and are misled
  with it (questions wrapped in an instruction): only BM25 loses weight by their opinion.

The evidence of a single query does not tell. All constants were chosen by measurement
(benchmarks/NOTES.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from vecdb_rerank.model import BranchHit, BranchWeight, HitId
from vecdb_rerank.request import BRANCHES, Fusion

Branches = Mapping[str, Mapping[HitId, BranchHit]]
Pair = tuple[float, float]

# A branch that finds documents this much more rarely than the other counts nothing, or fully.
LOST, SOUND = 0.3, 0.7
# Below this share of the other's self-retrieval, or of its full weight, a branch is reported.
WEAK = 0.5
# If the better branch finds fewer, sentences are no queries for these documents (pages of tables),
# and only a branch that finds none of them is weak.
TELLING, NONE_FOUND = 0.6, 0.03
# BM25 counts fully if its hits reach this share of the quality of dense's. If they reach less, it
# loses its weight this many times faster than its quality.
EQUALLY_GOOD, SLOPE = 0.97, 5.0


def decide(branches: Branches, fusion: Fusion) -> dict[str, BranchWeight]:
    """Return the weight of ``bm25`` and ``dense`` for the hits that they found for a query.

    A branch without hits gets 0. Neither the scale of a branch's scores nor the order of the
    branches changes a weight.
    """
    if fusion.fixed is not None:
        given = zip(BRANCHES, fusion.fixed, strict=True)
        return _shared({name: (weight, "given in fusion.weights") for name, weight in given})
    weights: dict[str, tuple[float, str]] = dict.fromkeys(BRANCHES, (1.0, "equal weights"))
    if silent := [name for name in BRANCHES if not branches.get(name)]:
        weights |= dict.fromkeys(BRANCHES, (1.0, "the only one with hits"))
        return _shared(weights | dict.fromkeys(silent, (0.0, "no hits")))
    for setting, factors in (
        ("branch_quality", by_quality(fusion.branch_quality)),
        ("self_retrieval", reliability(fusion.self_retrieval)),
    ):
        for name, factor in zip(BRANCHES, factors, strict=True):
            if factor < 1:
                why = f"a weaker branch by fusion.{setting}, {factor:.0%} of its weight"
                weights[name] = (weights[name][0] * factor, why)
    return _shared(weights)


def prior(fusion: Fusion) -> Pair:
    """Return the weights of (bm25, dense) that are known before a search; they sum to 1.

    They choose the candidates, of which a reranker misses none by a branch that counts little.
    """
    bm25, dense = fusion.fixed or reliability(fusion.self_retrieval)
    return bm25 / (bm25 + dense), dense / (bm25 + dense)


def in_fusion(fusion: Fusion) -> bool:
    """Check whether a database that fuses without weights would fuse otherwise."""
    bm25, dense = prior(fusion)
    return fusion.fixed is not None or bm25 != dense


def by_quality(quality: Pair | None) -> Pair:
    """Return the share of its weight (0 to 1) that (bm25, dense) keep; dense keeps all."""
    if quality is None:
        return 1.0, 1.0
    bm25, dense = quality
    ratio = bm25 / dense if dense else 1.0
    return max(0.0, 1 - SLOPE * max(0.0, EQUALLY_GOOD - ratio)), 1.0


def reliability(self_retrieval: Pair | None) -> Pair:
    """Return the share of its weight (0 to 1) that (bm25, dense) keep in this collection."""
    if self_retrieval is None or not _is_telling(self_retrieval):
        return 1.0, 1.0
    best = max(self_retrieval)
    bm25, dense = (
        min(1.0, max(0.0, (found / best - LOST) / (SOUND - LOST))) for found in self_retrieval
    )
    return bm25, dense


def unknown(fusion: Fusion) -> bool:
    """Check whether nothing is configured about the branches, which then count equally."""
    return (fusion.fixed, fusion.self_retrieval, fusion.branch_quality) == (None, None, None)


def weak_branch(fusion: Fusion) -> str | None:
    """Return a sentence about a branch that is known to be far weaker than the other."""
    found, quality = fusion.self_retrieval, fusion.branch_quality
    if fusion.fixed is not None:
        return None
    if found is not None and _is_telling(found) and min(found) < WEAK * max(found):
        (weak, name), (sound, other) = sorted(zip(found, BRANCHES, strict=True))
        return (
            f"by a sentence of a stored document, {name} finds it far more rarely than {other} "
            f"(mean reciprocal rank {weak:.2f}, {sound:.2f})"
        )
    if quality is not None and min(by_quality(quality)) < WEAK:
        return (
            "by the reranker's relevance, the hits of bm25 are far worse than those of dense "
            f"(NDCG@10 {quality[0]:.2f}, {quality[1]:.2f})"
        )
    return None


def _is_telling(self_retrieval: Pair) -> bool:
    """Check whether the values tell a weak branch from documents that no sentence finds."""
    return max(self_retrieval) >= TELLING or min(self_retrieval) < NONE_FOUND


def _shared(weights: Mapping[str, tuple[float, str]]) -> dict[str, BranchWeight]:
    """Return the weights scaled to sum to 1; equal ones if all are 0."""
    total = sum(weight for weight, _ in weights.values())
    return {
        name: BranchWeight(weight / total if total else 1 / len(weights), why)
        for name, (weight, why) in weights.items()
    }
