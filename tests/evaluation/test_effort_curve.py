"""The quality of reading fewer candidates follows from a run that read all."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.effort_curve import effort_curve
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.model import BranchHit, Candidate, Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend

WORDS = "wing flow shock heat pipe valve plate jet drag lift spin".split()
COUNT = 24


def run_of(relevance: Sequence[float | None], cached: bool = False) -> Run:
    """Return the run of one query with a candidate for each relevance."""
    draw = random.Random(0)
    candidates = [
        Candidate(
            n,
            f"d{n}",
            " ".join(draw.choices(WORDS, k=8)),
            1 - n / 100,
            branches={"bm25": BranchHit(n + 1, 9 - n / 10)},
        )
        for n in range(len(relevance))
    ]
    scores = Scores(relevance, relevance, calibrated=True)
    scored = Scored("q", candidates, scores, {c.id: str(c.id) for c in candidates})
    return Run(
        ranked={"q": scored.order(Blend(), Policy())},
        scored={"q": scored},
        pairs=[len(relevance)],
        timings=[{"first_pass": 10.0, "rerank": 240.0, "total": 250.0}],
        cached=cached,
    )


def test_the_last_row_is_the_run_itself_and_fewer_pairs_take_less_time() -> None:
    draw = random.Random(1)
    run = run_of([draw.random() for _ in range(COUNT)])
    grades = {"d3": 1, "d11": 2, "d20": 1}
    rows = effort_curve(run, {"q": grades}, Policy())
    assert [row["pairs"] for row in rows] == [5, 10, 15, 20, COUNT]
    assert rows[-1]["estimated"] == rows[-1]["set_aside"] == metrics.ndcg(run.ranked["q"], grades)
    assert [row["latency_ms"] for row in rows] == pytest.approx([60, 110, 160, 210, 250])


def test_what_is_set_aside_stays_behind_and_what_is_estimated_need_not() -> None:
    run = run_of([0.1] * 10 + [0.9] * (COUNT - 10))
    rows = {row["pairs"]: row for row in effort_curve(run, {"q": {"d23": 1}}, Policy())}
    assert rows[10]["set_aside"] == 0.0
    first = run_of([1.0, *[0.1] * (COUNT - 1)])
    [row, *_] = effort_curve(first, {"q": {"d0": 1}}, Policy())
    assert row["estimated"] == row["set_aside"] == 1.0


def test_a_run_that_did_not_read_all_gives_no_curve() -> None:
    whole = [n / COUNT for n in range(COUNT)]
    assert effort_curve(run_of([*whole[:-1], None]), {}, Policy()) == []
    assert effort_curve(run_of(whole[:5]), {}, Policy()) == []
    assert effort_curve(Run(), {}, Policy()) == []
    assert all(
        r["latency_ms"] is None for r in effort_curve(run_of(whole, cached=True), {}, Policy())
    )
    assert not math.isnan(effort_curve(run_of(whole), {}, Policy())[0]["estimated"])
