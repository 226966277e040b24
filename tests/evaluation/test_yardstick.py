"""The yardstick against rules worked out by hand, and on real searches."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.evaluation.yardstick import Yardstick, YardstickRow, held_out, yardstick
from vecdb_rerank.model import BranchHit, Candidate, Scores

DOCUMENTS = [f"d{n}" for n in range(6)]


def run_of(ranked: Mapping[str, Sequence[str]], ms: float = 10.0) -> Run:
    made = Run()
    for query, documents in ranked.items():
        made.add(query, list(documents), ms)
        made.scores[query] = {d: float(-n) for n, d in enumerate(documents)}
    return made


def reranked_of(relevance: Mapping[str, Mapping[str, float]], hybrid: Run) -> Run:
    """A run whose reranker gave these relevances."""
    made = run_of({q: sorted(r, key=lambda d: -r[d]) for q, r in relevance.items()}, 100.0)
    for query, values in relevance.items():
        candidates = [
            Candidate(n, d, d, 1 / (n + 1), branches={"dense": BranchHit(n + 1, -float(n))})
            for n, d in enumerate(hybrid.ranked[query])
        ]
        numbers = [values[c.text] for c in candidates]
        scores = Scores(numbers, numbers, calibrated=True)
        made.scored[query] = Scored(query, candidates, scores, {d: d for d in values})
    return made


def rows(found: Yardstick) -> dict[str, YardstickRow]:
    return {row["name"]: row for row in found["rows"]}


def searches(count: int) -> tuple[dict[str, Run], dict[str, dict[str, int]]]:
    """BM25 puts the relevant document first, the vectors put it last; the reranker finds it."""
    queries = [f"q{n}" for n in range(count)]
    wanted = {q: DOCUMENTS[n % len(DOCUMENTS)] for n, q in enumerate(queries)}
    best = {q: [d, *(x for x in DOCUMENTS if x != d)] for q, d in wanted.items()}
    worst = {q: list(reversed(order)) for q, order in best.items()}
    hybrid = run_of(worst, 12.0)
    relevance = {q: {d: 0.9 if d == wanted[q] else 0.1 for d in DOCUMENTS} for q in queries}
    runs = {
        "bm25": run_of(best, 5.0),
        "dense": run_of(worst, 11.0),
        "hybrid": hybrid,
        "hybrid+rerank": reranked_of(relevance, hybrid),
    }
    return runs, {q: {d: 1} for q, d in wanted.items()}


def test_every_row_is_there_with_its_quality_and_time() -> None:
    found = yardstick(*searches(60))
    assert [(row["name"], row["p50_ms"]) for row in found["rows"]] == [
        ("bm25", 5.0),
        ("dense", 11.0),
        ("hybrid", 12.0),
        ("tuned fusion", 12.0),
        ("reranked", 100.0),
        ("tuned reranking", 100.0),
        ("perfect order", None),
    ]
    by_name = rows(found)
    assert by_name["bm25"]["ndcg@10"] == by_name["perfect order"]["ndcg@10"] == 1.0
    assert by_name["dense"]["ndcg@10"] == pytest.approx(1 / np.log2(7))
    # All weight on BM25 is best on every half, so it is best on the other half too.
    assert by_name["tuned fusion"]["ndcg@10"] == pytest.approx(1.0)
    assert "0.6:0.4" in by_name["tuned fusion"]["setting"]
    assert by_name["tuned reranking"]["ndcg@10"] == pytest.approx(1.0)
    assert (found["queries"], found["half"], found["small"]) == (60, 30, False)


def test_differences_are_those_to_tuned_fusion() -> None:
    found = yardstick(*searches(60))
    assert found["against"] == "tuned fusion"
    by_name = rows(found)
    assert by_name["tuned fusion"]["difference"] is None
    difference = by_name["dense"]["difference"]
    assert difference is not None
    assert difference["change"] == pytest.approx(1 / np.log2(7) - 1)
    assert difference["interval"] == pytest.approx((difference["change"],) * 2)


def test_what_cannot_be_computed_is_left_out() -> None:
    runs, qrels = searches(60)
    without = {name: run for name, run in runs.items() if name != "bm25"}
    found = yardstick(without, qrels)
    assert "tuned fusion" not in rows(found)
    assert found["against"] == "hybrid"
    assert list(rows(yardstick({"dense": runs["dense"]}, qrels))) == ["dense", "perfect order"]
    one, judged = searches(1)
    assert not {"tuned fusion", "tuned reranking"} & set(rows(yardstick(one, judged)))


def test_small_halves_are_marked() -> None:
    assert yardstick(*searches(59))["small"]
    assert not yardstick(*searches(60))["small"]


def test_a_cached_reranker_has_no_time() -> None:
    runs, qrels = searches(4)
    runs["hybrid+rerank"].cached = True
    assert rows(yardstick(runs, qrels))["reranked"]["p50_ms"] is None


def test_a_setting_that_is_best_by_luck_gains_nothing_on_other_queries() -> None:
    # 100 settings of pure noise: the best on all queries looks good, the held-out value does not.
    noise = np.random.default_rng(1).random((100, 60))
    assert noise.mean(axis=1).max() > 0.57
    assert held_out(noise).mean() == pytest.approx(0.5, abs=0.03)


def test_the_same_queries_give_the_same_numbers() -> None:
    assert yardstick(*searches(20)) == yardstick(*searches(20))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 9))
def test_held_out_values_are_within_those_of_the_settings(
    count: int, choices: int, seed: int
) -> None:
    table = np.random.default_rng(seed).random((choices, count))
    found = held_out(table, splits=20, seed=seed)
    assert (found >= table.min(axis=0) - 1e-9).all()
    assert (found <= table.max(axis=0) + 1e-9).all()
    # One setting leaves no choice, however often it is listed.
    assert held_out(np.repeat(table[:1], 3, axis=0), 20, seed) == pytest.approx(table[0])


def test_ndcg_agrees_with_ir_measures() -> None:
    chance = random.Random(0)
    ranked = {f"q{n}": chance.sample(DOCUMENTS, chance.randint(0, 6)) for n in range(40)}
    qrels = {q: {d: chance.randint(-1, 3) for d in chance.sample(DOCUMENTS, 4)} for q in ranked}
    scored = {q: {d: -float(n) for n, d in enumerate(ds)} for q, ds in ranked.items() if ds}
    wanted = {
        m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, scored)
    }
    found = metrics.ndcg_by_query(ranked, qrels)
    assert {q: found[q] for q in wanted} == pytest.approx(wanted)
    assert metrics.ndcg([*DOCUMENTS[1:], "x"], {"x": 1}, n=5) == 0.0
