"""A run compared with an earlier one: losses that are more than chance, and only these."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.gate import gate, load
from vecdb_rerank.evaluation.result import EvaluationResult
from vecdb_rerank.testing import CORPUS
from vecdb_rerank.testing import QUERIES as TEXTS

QUERIES = [f"q{n}" for n in range(60)]


def result(
    quality: Callable[[int], float],
    classes: Mapping[str, str] | None = None,
    k: int = 50,
    *,
    time: str = "2026-01-01T00:00:00+00:00",
    dataset: str = "d",
) -> EvaluationResult:
    values = {q: {"first_pass": 0.0, "reranked": quality(n)} for n, q in enumerate(QUERIES)}
    latency = {"p50": 12.0, "p95": 20.0}
    mean = statistics.fmean(value["reranked"] for value in values.values())
    found = {
        "dataset": dataset,
        "documents": 9,
        "queries": len(QUERIES),
        "k": k,
        "backend": "qdrant",
        "stages": {
            "hybrid": {"ndcg@10": 0.0, "latency_ms": latency},
            "hybrid+rerank": {"ndcg@10": mean, "latency_ms": None},
        },
        "verdict": {"answer": "pays", "text": "Reranking pays here."},
        "settings": {"search": {"mode": "hybrid"}, "reranker": {"type": "onnx"}},
        "environment": {"time": time, "version": "0.1.0"},
        "details": {"mode": "hybrid", "ndcg": values, "classes": classes or {}},
    }
    return cast(EvaluationResult, found)


THEN = result(lambda _: 0.5)


@pytest.mark.parametrize(
    ("quality", "max_loss", "lost"),
    [
        (lambda _: 0.5, 0.0, False),
        (lambda _: 0.48, 0.01, True),
        (lambda _: 0.48, 0.03, False),  # allowed
        (lambda _: 0.9, 0.01, False),
        # As large a mean loss, but of queries that go up and down: it may be chance.
        (lambda n: 1.0 if n % 2 else -0.04, 0.01, False),
    ],
)
def test_a_loss_counts_if_it_is_large_and_more_than_chance(
    quality: Callable[[int], float], max_loss: float, lost: bool
) -> None:
    found = gate(result(quality), THEN, max_loss)
    assert found["lost"] is lost
    assert len(found["rows"]) == 1


def test_a_class_that_loses_is_found() -> None:
    classes = {q: "codes" if n < 20 else f"other{n % 20}" for n, q in enumerate(QUERIES)}
    worse = result(lambda n: 0.4 if n < 20 else 0.6, classes)
    found = gate(worse, THEN)
    rows = {row["group"]: row for row in found["rows"]}
    assert found["lost"]
    assert not rows[""]["lost"]
    assert [name for name, row in rows.items() if row["lost"]] == ["codes"]


@pytest.mark.parametrize(("classes", "lost"), [(["a"], True), (["a", "b"], False)])
def test_the_level_is_split_among_the_classes(classes: list[str], lost: bool) -> None:
    # Six queries that all lose: p is 2 / 64, enough for one class and not enough for one of two.
    losing = dict.fromkeys(QUERIES[:6], "a")
    others = dict.fromkeys(QUERIES[6:12], "b") if "b" in classes else {}
    worse = result(lambda n: 0.4 if n < 6 else 0.5, losing | others)
    rows = {row["group"]: row for row in gate(worse, THEN)["rows"]}
    assert rows["a"]["p"] == pytest.approx(2 / 64)
    assert rows["a"]["lost"] is lost


def test_what_makes_a_comparison_unsure_is_said() -> None:
    assert gate(THEN, THEN)["notes"] == []
    assert any("k" in note for note in gate(result(lambda _: 0.5, k=10), THEN)["notes"])
    fewer = cast(EvaluationResult, json.loads(json.dumps(THEN)))
    fewer["details"]["ndcg"] = {"q0": {"first_pass": 0.5, "reranked": 0.5}}
    assert len(gate(THEN, fewer)["notes"]) == 2  # too few, and not those of this run


def test_runs_without_a_common_query_cannot_be_compared() -> None:
    other = cast(EvaluationResult, json.loads(json.dumps(THEN)))
    other["details"]["ndcg"] = {"another": {"first_pass": 0.5, "reranked": 0.5}}
    with pytest.raises(ConfigurationError) as caught:
        gate(THEN, other)
    assert caught.value.key == "--baseline"
    with pytest.raises(ConfigurationError) as caught:
        gate(THEN, THEN, -0.1)
    assert caught.value.key == "--max-loss"


def test_a_snapshot_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(THEN))
    assert load(file) == THEN


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"stages": {}}', '{"stages": 1}', "[" * 99_999, "9" * 5000]
)
def test_a_file_that_is_no_snapshot_is_named(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.key == str(file)


def test_the_command_ends_with_1_after_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("d").mkdir()
    documents = [{"_id": d["id"], "text": d["text"]} for d in CORPUS]
    questions = [{"_id": name, "text": text} for name, text in TEXTS.items()]
    for name, lines in (("corpus", documents), ("queries", questions)):
        Path(f"d/{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("d/qrels.tsv").write_text("".join(f"{name}\t{name}-0\t1\n" for name in TEXTS))
    Path("vecdb_rerank.toml").write_text('[backend]\npath = ":memory:"\n')
    arguments = ["evaluate", "d", "--modes", "bm25", "--k", "2"]

    def ended(*options: str) -> int:
        return CliRunner().invoke(app, [*arguments, *options]).exit_code

    assert ended("--json", "then.json") == 0
    assert ended("--baseline", "then.json") == 0
    better = json.loads(Path("then.json").read_text())
    for value in better["details"]["ndcg"].values():
        value["reranked"] += 0.5
    Path("then.json").write_text(json.dumps(better))
    assert ended("--baseline", "then.json") == 1
    assert ended("--baseline", "then.json", "--max-loss", "0.6") == 0
