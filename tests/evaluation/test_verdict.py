"""What is said of a measurement, for every way it may fall."""

from __future__ import annotations

import pytest

from vecdb_rerank.evaluation.verdict import Answer, verdict
from vecdb_rerank.evaluation.yardstick import Difference, Yardstick, YardstickRow


def row(name: str, quality: float, p50: float | None = None, setting: str = "") -> YardstickRow:
    return {
        "name": name,
        "ndcg@10": quality,
        "difference": None,
        "p50_ms": p50,
        "setting": setting,
    }


def difference(low: float, high: float) -> Difference:
    return {"change": (low + high) / 2, "interval": (low, high)}


def measured(
    gain: Difference | None, tuned: Difference | None = None, queries: int = 200
) -> Yardstick:
    rows = [
        row("hybrid", 0.5, 20.0),
        row("tuned fusion", 0.52, 20.0, "fusion min_max 0.3:0.7"),
        row("reranked", 0.55, 300.0),
        row("tuned reranking", 0.56, 300.0, "blend convex 0.4"),
        row("perfect order", 0.9),
    ]
    return {
        "against": "tuned fusion",
        "best": "tuned fusion",
        "gain": gain,
        "tuned_gain": tuned,
        "queries": queries,
        "half": queries // 2,
        "splits": 200,
        "small": queries < 60,
        "rows": rows,
    }


@pytest.mark.parametrize(
    ("gain", "tuned", "queries", "answer", "advice"),
    [
        ((0.01, 0.05), None, 200, "pays", "Keep"),
        ((-0.01, 0.05), (0.01, 0.06), 200, "pays if tuned", "blend convex 0.4"),
        ((-0.05, -0.01), (-0.05, 0.01), 200, "does not pay", "fusion min_max 0.3:0.7"),
        ((-0.01, 0.005), (-0.01, 0.005), 200, "no difference", "fusion min_max 0.3:0.7"),
        ((-0.01, 0.05), (-0.01, 0.05), 200, "uncertain", "Judge about"),
        ((0.01, 0.05), (0.01, 0.06), 29, "uncertain", "fewer than 30"),
    ],
)
def test_the_answer_follows_from_the_intervals(
    gain: tuple[float, float],
    tuned: tuple[float, float] | None,
    queries: int,
    answer: Answer,
    advice: str,
) -> None:
    given = measured(difference(*gain), tuned and difference(*tuned), queries)
    found = verdict(given)
    assert found["answer"] == answer
    assert advice in found["text"]
    # How much, how certain, and how long it takes.
    for part in (f"{gain[0]:+.3f}", f"{gain[1]:+.3f}", "300 ms", "20 ms"):
        assert part in found["text"]


def test_a_price_is_said_if_there_is_one() -> None:
    given = measured(difference(0.01, 0.05))
    assert "2.50" in verdict(given, 2.5)["text"]
    assert "costs" not in verdict(given, 0.0)["text"]


def test_a_wide_interval_needs_more_queries_than_a_narrow_one() -> None:
    def needed(low: float, high: float, queries: int = 200) -> int:
        text = verdict(measured(difference(low, high), queries=queries))["text"]
        return int(text.split("Judge about ")[1].split()[0].replace(",", ""))

    assert needed(-0.5, 0.5, queries=3) >= 60  # what the tuned rows need
    assert 200 < needed(-0.01, 0.05) < needed(-0.05, 0.09)


def test_without_a_reranker_there_is_nothing_to_judge() -> None:
    assert verdict(measured(None))["answer"] == "none"
