"""Summarise tuning as the dictionary that ``tune --json`` writes."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TypedDict

from vecdb_rerank.evaluation.significance import PairedDict
from vecdb_rerank.evaluation.tuning.choose import Choice, Quality
from vecdb_rerank.evaluation.tuning.collected import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting

TradeOff = TypedDict(
    "TradeOff",
    {
        "role": str,
        "settings": str,
        "k": int,
        "ndcg@10": float,
        "change": float,
        "latency_ms": float | None,
        "cost": float | None,
    },
)
"""What one setting gains and costs; ``role`` is ``now``, ``chosen`` or empty.

``latency_ms`` is the median of embedding and first pass plus the reranker's mean for k documents,
``cost`` that of a search in the currency of the prices. Both are None if unknown.
"""


class TuningSummary(TypedDict):
    """The choice, and the best setting of each k and reranker."""

    dataset: str
    queries: int
    tried: int
    now: dict[str, object]
    chosen_settings: dict[str, object]
    chosen: str
    gain: PairedDict
    validated: PairedDict
    trade_off: list[TradeOff]


def summary(collected: Collected, quality: Quality, choice: Choice) -> TuningSummary:
    """Return the choice and what quality costs."""
    means = {setting: statistics.fmean(values) for setting, values in quality.items()}
    return {
        "dataset": collected.dataset,
        "queries": len(collected.queries),
        "tried": choice.tried,
        "now": _plain(choice.now, collected),
        "chosen_settings": _plain(choice.chosen, collected),
        "chosen": _described(choice.chosen, choice.now, collected),
        "gain": choice.gain.as_dict(),
        "validated": choice.validated.as_dict(),
        "trade_off": [
            {
                "role": _role(setting, choice),
                "settings": _described(setting, choice.now, collected),
                "k": setting.k,
                "ndcg@10": means[setting],
                "change": means[setting] - means[choice.now],
                "latency_ms": collected.latency_ms(setting),
                "cost": collected.cost(setting),
            }
            for setting in _shown(means, choice)
        ],
    }


def _shown(means: dict[Setting, float], choice: Choice) -> list[Setting]:
    """Return the current, the chosen, and the best setting of each reranker and k, by k."""
    best: dict[tuple[int, int], Setting] = {}
    for setting, mean in means.items():
        key = (setting.reranker, setting.k)
        if key not in best or mean > means[best[key]]:
            best[key] = setting
    shown = dict.fromkeys((choice.now, choice.chosen, *best.values()))
    return sorted(shown, key=lambda s: (s.reranker, s.k, s.depth, means[s]))


def _role(setting: Setting, choice: Choice) -> str:
    if setting == choice.chosen:
        return "chosen"
    return "now" if setting == choice.now else ""


def _described(setting: Setting, now: Setting, collected: Collected) -> str:
    text = setting.described(now)
    if len(collected.scorers) == 1:
        return text
    scorer = collected.scorers[setting.reranker]
    length = getattr(scorer.section, "max_length", None)
    return f"{scorer.name}{'' if length is None else f' ({length} tokens)'}, {text}"


def _plain(setting: Setting, collected: Collected) -> dict[str, object]:
    return {**asdict(setting), "reranker": collected.scorers[setting.reranker].name}
