"""Try settings on what was collected, and choose one by cross-validation."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.significance import ROUNDING, Paired, paired
from vecdb_rerank.evaluation.tuning.collected import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting, first_passes
from vecdb_rerank.request import Fusion

FOLDS = 5
# A gain counts as its lower bound, the mean less this many standard errors. The best of hundreds of
# settings is partly luck, so that choosing must also gain on the folds left out.
CHOICE_ERRORS, VALIDATION_ERRORS = 2.0, 1.0
Quality = Mapping[Setting, Sequence[float]]
"""NDCG@10 of each query by setting."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen setting, compared with the current one (``now``).

    ``gain`` compares them on the queries that the choice was made on. ``validated`` compares the
    way of choosing on queries that were left out, which is what to expect on new queries.
    ``tried`` counts settings.
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
    """Return the NDCG@10 of every query under every setting, with the functions of a search.

    ``on_progress`` is called with the number of settings done and their total.
    """
    found: dict[Setting, list[float]] = {}
    for (depth, fusion), k in first_passes(settings).items():
        same = [s for s in settings if (s.depth, s.fusion) == (depth, fusion)]
        found |= _ndcg(collected, depth, fusion, k, same)
        on_progress(len(found), len(settings))
    return {setting: found[setting] for setting in settings}


def _ndcg(
    collected: Collected, depth: int, fusion: Fusion, k: int, settings: Sequence[Setting]
) -> dict[Setting, list[float]]:
    """Return NDCG@10 by setting for settings that share a first pass of at most ``k`` hits."""
    policy = collected.policy
    ranked: dict[Setting, dict[str, list[str]]] = {setting: {} for setting in settings}
    for query in collected.queries:
        candidates = query.first_pass(depth, fusion, k)
        for setting in settings:
            order = query.reranked(candidates[: setting.k], setting, policy)
            ranked[setting][query.query_id] = order[:10]
    return {
        setting: list(metrics.ndcg_by_query(orders, collected.qrels).values())
        for setting, orders in ranked.items()
    }


def choose(quality: Quality, now: Setting, *, folds: int = FOLDS, seed: int = 0) -> Choice:
    """Choose a setting by cross-validation; keep ``now`` unless another one is clearly better.

    A setting is better if its mean is below that of ``now`` in no fold, its gain over all queries
    is more than two standard errors, and choosing this way gains more than one standard error on
    the folds left out. Of equal settings, the one with fewer changes wins, then the cheaper one.
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
    if _lower_bound(validated, VALIDATION_ERRORS) <= ROUNDING:
        chosen = now
    gains = _gains(quality, chosen, now, range(count))
    return Choice(now, chosen, paired(gains), paired(validated), len(quality))


def _best(
    quality: Quality, now: Setting, queries: Sequence[int], folds: Sequence[Sequence[int]]
) -> Setting:
    """Return the setting with the largest lower bound of its gain, no worse in any fold."""

    def value(setting: Setting) -> tuple[float, int, int, int]:
        gain = _lower_bound(_gains(quality, setting, now, queries), CHOICE_ERRORS)
        return -round(gain, 9), setting.differences(now), setting.k, setting.depth

    good = [setting for setting in quality if _never_worse(quality, setting, now, folds)]
    best = min(good, key=value)
    return best if -value(best)[0] > ROUNDING else now


def _never_worse(
    quality: Quality, setting: Setting, now: Setting, folds: Sequence[Sequence[int]]
) -> bool:
    return all(sum(_gains(quality, setting, now, fold)) >= -ROUNDING for fold in folds)


def _lower_bound(gains: Sequence[float], errors: float) -> float:
    """Return the mean gain less this many standard errors."""
    if len(gains) < 2:
        return 0.0
    return statistics.fmean(gains) - errors * statistics.stdev(gains) / math.sqrt(len(gains))


def _gains(quality: Quality, setting: Setting, now: Setting, queries: Sequence[int]) -> list[float]:
    return [quality[setting][n] - quality[now][n] for n in queries]


def _folds(count: int, folds: int, seed: int) -> list[list[int]]:
    order = random.Random(seed).sample(range(count), count)
    return [part for n in range(folds) if (part := sorted(order[n::folds]))]
