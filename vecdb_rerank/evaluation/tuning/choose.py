"""The cheap part of tuning: trying settings on what was collected, and choosing with care."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.significance import SAME, Paired, paired
from vecdb_rerank.evaluation.tuning.collect import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting, first_passes
from vecdb_rerank.request import Fusion

FOLDS = 5
# A setting counts by its mean gain less so many of its standard errors: what is likely at least.
# The best of hundreds is so by luck too; choosing has to pay by one of them on folds left out.
CAUTION, PAYS = 2.0, 1.0
Quality = Mapping[Setting, Sequence[float]]  # NDCG@10 of each query


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting that was chosen, and why it can be trusted.

    ``gain`` compares it with the one of now on the same queries that it was chosen on;
    ``validated`` does so for the procedure, on queries that the choice had not seen: that is what
    new queries may expect. ``tried`` counts settings.
    """

    now: Setting
    chosen: Setting
    gain: Paired
    validated: Paired
    tried: int


def evaluate(
    collected: Collected,
    settings: Sequence[Setting],
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[Setting, list[float]]:
    """NDCG@10 of every query (in their order) under every setting.

    The orders come from the functions that a search uses; ``on_progress`` gets (done, total).
    """
    found: dict[Setting, list[float]] = {}
    for (depth, how), k in first_passes(settings).items():
        alike = [s for s in settings if (s.depth, s.fusion) == (depth, how)]
        found |= _ndcg(collected, depth, how, k, alike)
        on_progress(len(found), len(settings))
    return {setting: found[setting] for setting in settings}


def _ndcg(
    collected: Collected, depth: int, how: Fusion, k: int, settings: Sequence[Setting]
) -> dict[Setting, list[float]]:
    """NDCG@10 of every query by settings with one first pass, of at most ``k`` hits."""
    policy = collected.policy
    ranked: dict[Setting, dict[str, list[str]]] = {setting: {} for setting in settings}
    for query in collected.queries:
        candidates = query.first_pass(depth, how, k)
        for setting in settings:
            order = query.reranked(candidates[: setting.k], setting, policy)
            ranked[setting][query.query_id] = order[:10]
    return {
        setting: list(metrics.ndcg_by_query(orders, collected.qrels).values())
        for setting, orders in ranked.items()
    }


def choose(quality: Quality, now: Setting, *, folds: int = FOLDS, seed: int = 0) -> Choice:
    """Choose by cross-validation over the queries; the setting of now unless one is surely better.

    A setting is taken if in no fold its mean is below that of ``now``, if over all queries its
    gain is more than two standard errors, and if choosing that way gains more than one on the
    folds left out. Equal ones go to that with fewer changes, then to the cheaper one.
    """
    count = len(quality[now])
    parts = _folds(count, folds, seed)
    validated = [0.0] * count
    for part in parts:
        rest = [n for n in range(count) if n not in set(part)]
        inner = [[n for n in other if n not in set(part)] for other in parts if other is not part]
        picked = _best(quality, now, rest, inner)
        for n in part:
            validated[n] = quality[picked][n] - quality[now][n]
    chosen = _best(quality, now, range(count), parts)
    if _certain(validated, PAYS) <= SAME:
        chosen = now
    gains = _gains(quality, chosen, now, range(count))
    return Choice(now, chosen, paired(gains), paired(validated), len(quality))


def _best(
    quality: Quality, now: Setting, queries: Sequence[int], folds: Sequence[Sequence[int]]
) -> Setting:
    """The setting with the most certain gain over these queries, at least as good in each fold."""

    def value(setting: Setting) -> tuple[float, int, int, int]:
        certain = _certain(_gains(quality, setting, now, queries), CAUTION)
        return -round(certain, 9), setting.differences(now), setting.k, setting.depth

    good = [setting for setting in quality if _never_worse(quality, setting, now, folds)]
    best = min(good, key=value)
    return best if -value(best)[0] > SAME else now


def _never_worse(
    quality: Quality, setting: Setting, now: Setting, folds: Sequence[Sequence[int]]
) -> bool:
    return all(sum(_gains(quality, setting, now, fold)) >= -SAME for fold in folds)


def _certain(gains: Sequence[float], caution: float) -> float:
    """The mean gain less so many standard errors."""
    if len(gains) < 2:
        return 0.0
    return statistics.fmean(gains) - caution * statistics.stdev(gains) / math.sqrt(len(gains))


def _gains(quality: Quality, setting: Setting, now: Setting, queries: Sequence[int]) -> list[float]:
    mine, its = quality[setting], quality[now]
    return [mine[n] - its[n] for n in queries]


def _folds(count: int, folds: int, seed: int) -> list[list[int]]:
    order = random.Random(seed).sample(range(count), count)
    return [part for n in range(folds) if (part := sorted(order[n::folds]))]
