"""Compare reranking with what fusion alone can do, if its weights are tuned as well.

Every row orders hits of the same searches. The rows that are tuned choose their settings on one
half of the queries and are measured on the other, so that no row is praised for its luck.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.significance import bootstrap
from vecdb_rerank.evaluation.tuning.grid import BLENDS, described_blend, described_fusion
from vecdb_rerank.policy import Policy
from vecdb_rerank.ranking import fusion
from vecdb_rerank.request import BRANCHES, Fusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vecdb_rerank.evaluation.datasets import Qrels
    from vecdb_rerank.evaluation.runs import Run
    from vecdb_rerank.policy.blend import Blend

    Values = NDArray[np.float64]
    Order = Callable[[str], Sequence[str]]  # document ids by query

SPLITS = 200
MIN_HALF = 30  # queries; on fewer, a choice is mostly chance
TUNED_FUSION, RERANKED, TUNED_RERANKING = "tuned fusion", "reranked", "tuned reranking"
WITHOUT_STAGES = "reranked, without policy.after"
PERFECT = "perfect order"
WITH_RERANKER = (RERANKED, WITHOUT_STAGES, TUNED_RERANKING, PERFECT)
FUSIONS = (
    *(Fusion("min_max", weights=(n / 10, (10 - n) / 10)) for n in range(11)),
    *(Fusion("rrf", c, (n / 10, (10 - n) / 10)) for c in (10, 60) for n in range(1, 10)),
)
AS_CONFIGURED = "as configured"


class Difference(TypedDict):
    """A mean difference over the same queries, with its 95 % interval (two numbers)."""

    change: float
    interval: Sequence[float]


YardstickRow = TypedDict(
    "YardstickRow",
    {
        "name": str,
        "ndcg@10": float,
        "difference": Difference | None,
        "p50_ms": float | None,
        "setting": str,
    },
)
"""The quality of one way to order the hits.

``difference`` is that to the row ``Yardstick.against``, None for this row itself. ``p50_ms`` is the
median time of a search, None if it was not measured. ``setting`` is what a tuned row would choose
on all queries, empty for other rows.
"""


class Yardstick(TypedDict):
    """All rows, by branch, fusion and reranking; the last is the best order of the candidates.

    ``against`` is the row that all others are compared with, ``best`` the best one without a
    reranker. ``gain`` and ``tuned_gain`` compare the reranked row, and the one with tuned
    reranking, with ``best``. ``half`` is the number of queries that settings are chosen on in each
    of ``splits`` splits, and ``small`` says that it is below `MIN_HALF`.
    """

    against: str
    best: str
    gain: Difference | None
    tuned_gain: Difference | None
    queries: int
    half: int
    splits: int
    small: bool
    rows: list[YardstickRow]


def yardstick(
    runs: Mapping[str, Run],
    qrels: Qrels,
    *,
    policy: Policy | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Yardstick:
    """Compare the orders of ``runs`` (see `runs.run`) with tuned fusion and the perfect order.

    The hybrid runs are compared, else those of the last mode. Tuned fusion needs the runs ``bm25``
    and ``dense``, tuned reranking the reranked run, and both at least two queries; a row that
    cannot be computed is left out. Differences are those to tuned fusion, else to the first pass.
    """
    main = "hybrid" if "hybrid" in runs else [name for name in runs if "+" not in name][-1]
    first, reranked = runs[main], runs.get(f"{main}+rerank")
    queries = list(first.ranked)

    def measured(order: Order) -> Values:
        return np.array([metrics.ndcg(order(query), qrels.get(query, {})) for query in queries])

    def fixed(run: Run) -> _Row:
        return measured(run.ranked.__getitem__), run.p50, ""

    def tuned(now: Run, settings: Mapping[str, Order]) -> _Row:
        orders = {AS_CONFIGURED: now.ranked.__getitem__, **settings}
        table = np.array([measured(order) for order in orders.values()])
        return held_out(table, splits, seed), now.p50, list(orders)[table.mean(1).round(9).argmax()]

    rows = {name: fixed(runs[name]) for name in (*BRANCHES, main) if name in runs}
    if len(queries) > 1 and main == "hybrid" and all(name in runs for name in BRANCHES):
        rows[TUNED_FUSION] = tuned(first, _fused(runs))
    if reranked is not None:
        rows[RERANKED] = fixed(reranked)
        if policy is not None and policy.after:
            rows[WITHOUT_STAGES] = measured(_without_stages(reranked, policy)), None, ""
        if len(queries) > 1:
            rows[TUNED_RERANKING] = tuned(reranked, _blended(reranked, policy or Policy()))
    perfect = measured(lambda query: best_first(first.ranked[query], qrels.get(query, {})))
    rows[PERFECT] = perfect, None, ""
    against = TUNED_FUSION if TUNED_FUSION in rows else main
    best = max((n for n in rows if n not in WITH_RERANKER), key=lambda n: rows[n][0].mean())
    return {
        "against": against,
        "best": best,
        "gain": _difference(rows, RERANKED, best),
        "tuned_gain": _difference(rows, TUNED_RERANKING, best),
        "queries": len(queries),
        "half": len(queries) // 2,
        "splits": splits,
        "small": len(queries) // 2 < MIN_HALF,
        "rows": [
            {
                "name": name,
                "ndcg@10": float(values.mean()),
                "difference": _difference(rows, name, against),
                "p50_ms": p50,
                "setting": setting,
            }
            for name, (values, p50, setting) in rows.items()
        ],
    }


_Row = tuple["Values", float | None, str]  # NDCG@10 by query, median milliseconds, setting


def _difference(rows: Mapping[str, _Row], name: str, other: str) -> Difference | None:
    """Return what the row ``name`` gains over ``other``; None for the same or a missing row."""
    if name not in rows or name == other:
        return None
    changes = [float(change) for change in rows[name][0] - rows[other][0]]
    return {"change": statistics.fmean(changes), "interval": bootstrap(changes)}


def held_out(table: Values, splits: int = SPLITS, seed: int = 0) -> Values:
    """Return for each query the mean value of the settings chosen without it.

    ``table`` has shape (settings, queries), at least two queries. Each split cuts the queries at
    random into two halves; the setting with the best mean on either is applied to the other. Of
    equally good settings, the first is chosen.
    """
    count = table.shape[1]
    order = np.random.default_rng(seed).random((splits, count)).argsort(axis=1)
    in_half = order.argsort(axis=1) < count // 2
    chosen_on = np.concatenate([in_half, ~in_half])
    best = (table @ chosen_on.T).round(9).argmax(axis=0)
    applied: Values = np.where(chosen_on, 0.0, table[best]).sum(axis=0) / splits
    return applied


def best_first(ranked: Sequence[str], grades: Mapping[str, int]) -> list[str]:
    """Return the documents by grade, best first."""
    return sorted(ranked, key=lambda document: -grades.get(document, 0))


def _fused(runs: Mapping[str, Run]) -> dict[str, Order]:
    """Return the orders of both branches under each of `FUSIONS`, by the fusion in words."""
    branches = {
        query: [fusion.branch(runs[name].scores[query].items()) for name in BRANCHES]
        for query in runs["hybrid"].ranked
    }

    def by(rule: Fusion) -> Order:
        return lambda query: [str(document) for document, _ in fusion.fuse(branches[query], rule)]

    return {described_fusion(rule): by(rule) for rule in FUSIONS}


def _without_stages(reranked: Run, policy: Policy) -> Order:
    """Return the order of the scored candidates as if ``policy.after`` had no stages."""
    plain = replace(policy, after=())
    return lambda query: reranked.scored[query].order(plain.blend, plain)


def _blended(reranked: Run, policy: Policy) -> dict[str, Order]:
    """Return the orders of the scored candidates under each of `BLENDS`, by the blend in words."""

    def by(blend: Blend) -> Order:
        return lambda query: reranked.scored[query].order(blend, policy)

    return {described_blend(blend): by(blend) for blend in BLENDS}
