"""What tuning found, as data."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from vecdb_rerank.evaluation.tuning.choose import Choice, Quality
from vecdb_rerank.evaluation.tuning.collect import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting


def summary(collected: Collected, quality: Quality, choice: Choice) -> dict[str, Any]:
    """The JSON form: the choice, and what quality costs by k and reranker.

    ``latency_ms`` is the median of embedding and first pass and the reranker's mean for k
    documents; ``cost`` is that of a search in the currency of the prices. Both are None where
    they are not known.
    """
    return {
        "dataset": collected.dataset,
        "queries": len(collected.queries),
        "tried": choice.tried,
        "now": _plain(choice.now, collected),
        "chosen_settings": _plain(choice.chosen, collected),
        "chosen": _described(choice.chosen, choice.now, collected),
        "gain": asdict(choice.gain),
        "validated": asdict(choice.validated),
        "trade_off": [
            {
                "role": _role(setting, choice),
                "settings": _described(setting, choice.now, collected),
                "k": setting.k,
                "ndcg@10": statistics.fmean(quality[setting]),
                "change": statistics.fmean(quality[setting])
                - statistics.fmean(quality[choice.now]),
                "latency_ms": collected.latency_ms(setting),
                "cost": collected.cost(setting),
            }
            for setting in _shown(quality, choice)
        ],
    }


def _shown(quality: Quality, choice: Choice) -> list[Setting]:
    """The best setting of each reranker and k, that of now and the chosen one, cheapest first."""
    best: dict[tuple[int, int], Setting] = {}
    for setting in quality:
        key = (setting.reranker, setting.k)
        if key not in best or statistics.fmean(quality[setting]) > statistics.fmean(
            quality[best[key]]
        ):
            best[key] = setting
    shown = dict.fromkeys((choice.now, choice.chosen, *best.values()))
    return sorted(shown, key=lambda s: (s.reranker, s.k, s.depth, statistics.fmean(quality[s])))


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


def _plain(setting: Setting, collected: Collected) -> dict[str, Any]:
    return {**asdict(setting), "reranker": collected.scorers[setting.reranker].name}
