"""Each known failure is found when it is there, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vecdb_rerank.config.loading import load
from vecdb_rerank.evaluation import diagnose as d
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import paired
from vecdb_rerank.search.store import Finding
from vecdb_rerank.testing import CORPUS, QUERIES


def run_of(relevance: dict[str, float], *, ms: float = 10.0, truncated: int = 0) -> Run:
    made = Run(truncated=truncated)
    made.add("q", list(relevance), ms)
    made.timings.append({"rerank": ms})
    made.relevance["q"] = relevance
    return made


def check(finding: Finding, ok: bool, *words: str) -> None:
    assert finding.ok is ok
    assert bool(finding.fix) is not ok
    for word in (*words, "threshold"):
        assert word in f"{finding.detail} {finding.fix}"


def test_a_first_pass_that_is_too_narrow() -> None:
    deep = Run(ranked={"q": [f"d{n}" for n in range(200)]})
    qrels = {"q": {"d3": 1, "d70": 1}}
    check(d.depth(deep, qrels, 50), False, "recall@50 0.500", "search.k = 71")
    check(d.depth(deep, qrels, 71), True, "recall@71 1.000")


def test_an_order_that_reranking_makes_worse() -> None:
    check(d.gain(paired([-0.1] * 30)), False, "-0.100", "30 worse", "tune")
    check(d.gain(paired([-0.1, 0.1] * 30)), True)


def test_relevant_documents_that_seem_irrelevant() -> None:
    qrels = {"q": {"a": 1, "b": 2, "x": 0}}
    check(d.low_relevance(run_of({"a": 0.19, "b": 0.9, "x": 0.01}), qrels), False, "50% of 2")
    check(d.low_relevance(run_of({"a": 0.2, "b": 0.9, "x": 0.01}), qrels), True, "0% of 2")
    check(d.low_relevance(run_of({"x": 0.01}), qrels), True, "0% of 0")


def test_few_judged_queries_are_warned_about() -> None:
    check(d.queries(29), False, "at least 30")
    check(d.queries(30), True)


def test_a_reranker_that_is_slow() -> None:
    check(d.speed(run_of({"a": 1.0}, ms=501.0)), False, "p95 501 ms", "search.k")
    check(d.speed(run_of({"a": 1.0}, ms=499.0)), True)


def test_documents_that_are_read_in_part() -> None:
    relevance = {str(n): 0.5 for n in range(20)}
    check(d.truncation(run_of(relevance, truncated=2)), False, "10% of 20", "max_length")
    check(d.truncation(run_of(relevance, truncated=1)), True, "5% of 20")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return load(backend={"path": ":memory:"}, reranker={"max_length": 32}).settings


def test_all_of_it_on_documents_with_structure(settings: Any) -> None:
    corpus = [{"_id": c["id"], "text": {"title": c["title"], "body": c["text"]}} for c in CORPUS]
    queries = {name: QUERIES[name] for name in ("bread", "tax")}
    judged = Dataset("d", tuple(corpus), queries, {name: {f"{name}-0": 1} for name in queries})
    steps: list[tuple[str, int, int]] = []
    findings = {
        f.subject: f for f in d.diagnose(settings, judged, on_progress=lambda *s: steps.append(s))
    }
    assert list(findings) == [
        "judged queries",
        "depth of the first pass",
        "gain of reranking",
        "relevant documents under 0.2",
        "time of reranking",
        "documents read in part",
        "form of documents",
    ]
    assert findings["depth of the first pass"].ok
    assert not findings["documents read in part"].ok  # 32 tokens are too few for them
    assert ("searching", 4, 4) in steps


def test_without_a_reranker_only_the_first_pass_is_looked_at(settings: Any) -> None:
    without = load(backend={"path": ":memory:"}, reranker={"type": "none"}).settings
    corpus = tuple({"_id": c["id"], "text": c["text"]} for c in CORPUS[:5])
    judged = Dataset("d", corpus, {"q": "bread"}, {"q": {str(CORPUS[0]["id"]): 1}})
    assert [finding.subject for finding in d.diagnose(without, judged)] == [
        "judged queries",
        "depth of the first pass",
    ]
