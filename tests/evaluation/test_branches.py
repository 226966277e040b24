"""What queries without judgments say of the branches, and of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.config.loading import load
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.branches import MIN_QUERIES, compare, finding, instruction
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.model import BranchHit, Candidate, Scores
from vecdb_rerank.request import Fusion
from vecdb_rerank.testing import CORPUS, QUERIES

TEMPLATE = "Assume that you are an analyst. Answer the following: {}"


def query(bm25: float, dense: float) -> Scored:
    """A query for which each branch found one document with this relevance."""
    candidates = [
        Candidate(0, 0, "a", 1.0, branches={"bm25": BranchHit(1, 9.0)}),
        Candidate(1, 1, "b", 1.0, branches={"dense": BranchHit(1, 0.9)}),
    ]
    return Scored("q", candidates, Scores([0, 0], [bm25, dense], calibrated=True), {0: "0", 1: "1"})


@pytest.mark.parametrize(
    ("bm25", "count", "fusion", "level"),
    [
        (0.3, MIN_QUERIES, Fusion(), "warning"),
        (0.3, MIN_QUERIES, Fusion("dbsf"), "warning"),
        (0.3, MIN_QUERIES, Fusion(weights=(1, 1)), "ok"),
        (0.3, MIN_QUERIES, Fusion(branch_quality=(0.3, 0.8)), "ok"),
        (0.8, MIN_QUERIES, Fusion(branch_quality=(0.3, 0.8)), "warning"),  # works again
        (0.8, MIN_QUERIES, Fusion(), "ok"),
        (1.0, MIN_QUERIES, Fusion(), "ok"),
        (0.3, MIN_QUERIES - 1, Fusion(), "note"),
    ],
)
def test_what_is_found_is_compared_with_what_is_configured(
    bm25: float, count: int, fusion: Fusion, level: str
) -> None:
    found = finding([query(bm25, 0.8)] * count, fusion)
    assert found.level == level
    assert ("branch_quality" in found.fix) == (level == "warning")


def test_documents_that_are_not_relevant_say_nothing() -> None:
    assert finding([query(0.0, 0.0)] * MIN_QUERIES, Fusion()).level == "note"


@pytest.mark.parametrize("template", [TEMPLATE, "{} Answer in one short sentence, please."])
def test_words_around_all_queries_are_named(template: str) -> None:
    texts = [f"question {n} about item {n}?" for n in range(MIN_QUERIES)]
    found = instruction([template.format(text) for text in texts])
    assert found.level == "warning"
    assert template.format("").strip() in found.detail
    assert instruction(texts).level == "ok"
    assert instruction([template.format(text) for text in texts[:3]]).level == "ok"
    assert instruction([]).level == "ok"


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"search": {"mode": "bm25"}}, "search.mode"),
        ({"reranker": {"type": "none"}}, "reranker.type"),
    ],
)
def test_branches_need_a_reranked_hybrid_search(changed: dict[str, object], key: str) -> None:
    settings = load(backend={"path": ":memory:"}, **changed).settings  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        compare(settings, Dataset("d", (), {"q": "text"}, {}))
    assert caught.value.key == key


def test_the_doctor_compares_branches_with_queries_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("documents.jsonl").write_text(
        "\n".join(f'{{"id": {n}, "text": "{d["text"]}"}}' for n, d in enumerate(CORPUS[:12])),
        encoding="utf-8",
    )
    Path("queries.jsonl").write_text(f'{{"_id": "1", "text": "{QUERIES["bread"]}"}}\n')
    Path("vecdb_rerank.toml").write_text('[backend]\npath = "db"\n')
    runner = CliRunner()
    assert runner.invoke(app, ["index", "documents.jsonl"]).exit_code == 0
    ended = runner.invoke(app, ["doctor", "--queries-file", "queries.jsonl"])
    assert ended.exit_code == 0, ended.output
    assert "fewer than" in " ".join(ended.output.split())
