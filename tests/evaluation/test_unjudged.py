"""Two orders compared without judgments, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.unjudged import changes, evaluate_unjudged, overlap, rbo
from vecdb_rerank.testing import CORPUS, QUERIES

LISTS = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12)


def test_overlap_and_rbo_of_equal_and_disjoint_lists() -> None:
    assert overlap("abc", "cab") == rbo("abc", "abc") == overlap("", "") == rbo("", "") == 1.0
    assert overlap("abc", "xyz") == rbo("abc", "xyz") == rbo("abc", "") == 0.0
    assert overlap("abcd", "ab") == 0.5


def test_rbo_weighs_the_first_ranks_most() -> None:
    # Agreement 0, 1, 1: (1 - p) / p * (p**2 + p**3) + p**3, for p = 0.9.
    assert rbo("abc", "bac") == pytest.approx(0.1 / 0.9 * (0.81 + 0.729) + 0.729)
    assert rbo("abcd", "bacd") < rbo("abcd", "abdc")


@hypothesis_settings(max_examples=60, deadline=None)
@given(LISTS, LISTS)
def test_rbo_is_symmetric_and_between_0_and_1(one: list[str], other: list[str]) -> None:
    assert rbo(one, other) == rbo(other, one)
    assert -1e-9 <= rbo(one, other) <= 1 + 1e-9
    assert rbo(one, one) == pytest.approx(1.0)


def test_the_most_changed_queries_come_first() -> None:
    ranked = {
        "first": {"same": ["a", "b"], "swapped": ["a", "b"], "new": ["a", "b"]},
        "second": {"same": ["a", "b"], "swapped": ["b", "a"], "new": ["c", "d"]},
    }
    found = changes("first", "second", ranked, {"new": "what is new?"}, str.upper)
    assert [row["query_id"] for row in found["queries"]] == ["new", "swapped", "same"]
    assert found["queries"][0]["query"] == "what is new?"
    assert found["same_first"] == pytest.approx(1 / 3)
    assert found["overlap"] == pytest.approx(2 / 3)
    assert [hit["id"] for hit in found["queries"][1]["moved"]] == ["a", "b"]
    assert found["queries"][2]["moved"] == []


def test_a_collection_without_judgments_is_searched_in_both_orders() -> None:
    corpus = tuple({"_id": d["id"], "text": d["text"]} for d in CORPUS[:12])
    queries = {name: QUERIES[name] for name in ("bread", "tax")}
    settings = load(backend={"path": ":memory:"}).settings
    dataset = Dataset("d", corpus, queries, {})
    [arm] = evaluate_unjudged(settings, dataset, k=10)["arms"]
    assert (arm["one"], arm["other"]) == ("hybrid", "hybrid+rerank")
    found = evaluate_unjudged(settings, dataset, modes=["bm25", "dense"], k=10)
    assert [arm["one"] for arm in found["arms"]] == ["bm25", "dense"]
    for arm in found["arms"]:
        assert {row["query_id"] for row in arm["queries"]} == set(queries)
        assert all(hit["text"] for row in arm["queries"] for hit in row["moved"])
    assert set(found["latency_ms"]) == {"bm25", "bm25+rerank", "dense", "dense+rerank"}


def test_the_command_shows_an_existing_collection_without_judgments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(backend={"path": str(tmp_path / "index"), "collection": "mine"}).settings
    connector = factory.build(settings)
    connector.create()
    connector.add(CORPUS[:12])
    connector.close()
    Path("vecdb_rerank.toml").write_text('[backend]\npath = "index"\ncollection = "mine"\n')
    query = {"_id": "q", "text": "how is <b>bread</b> baked?"}
    Path("queries.jsonl").write_text(json.dumps(query))
    arguments = ["evaluate", "--queries-file", "queries.jsonl", "--k", "10"]
    ended = CliRunner().invoke(app, [*arguments, "--json", "u.json", "--html", "u.html"])
    assert ended.exit_code == 0, ended.output
    assert {"u.html", "u.json"} <= set(ended.stderr.split())
    [row] = json.loads(Path("u.json").read_text())["arms"][0]["queries"]
    assert row["query"] == query["text"]
    page = Path("u.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bread" in page
    assert "<b>" not in page
    for options in (["--baseline", "u.json"], ["--max-loss", "0"], ["--cache"]):
        refused = CliRunner().invoke(app, [*arguments, *options])
        assert isinstance(refused.exception, ConfigurationError)
        assert refused.exception.key == options[0]
