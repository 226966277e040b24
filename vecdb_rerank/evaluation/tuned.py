"""The result of tuning: the choice, and whether reranking pays against tuned fusion."""

from __future__ import annotations

from vecdb_rerank.evaluation.tuning.as_runs import as_runs
from vecdb_rerank.evaluation.tuning.choose import Choice, Quality
from vecdb_rerank.evaluation.tuning.collected import Collected
from vecdb_rerank.evaluation.tuning.summary import TuningSummary, summary
from vecdb_rerank.evaluation.verdict import Verdict, verdict
from vecdb_rerank.evaluation.yardstick import Yardstick, yardstick


class TuningResult(TuningSummary):
    """The summary, and whether reranking with the current settings pays."""

    verdict: Verdict
    yardstick: Yardstick


def result(collected: Collected, quality: Quality, choice: Choice) -> TuningResult:
    """Return the summary with the comparison of the current settings with tuned fusion."""
    runs = as_runs(collected, choice.now)
    measured = yardstick(runs, collected.qrels, policy=collected.policy)
    cost = collected.cost(choice.now)
    return {
        **summary(collected, quality, choice),
        "verdict": verdict(measured, None if cost is None else 1000 * cost),
        "yardstick": measured,
    }
