"""Snapshots over time: their order, what changed between them, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from tests.evaluation.test_gate import result
from vecdb_rerank.cli.app import app
from vecdb_rerank.evaluation.history import Snapshot, differences, histories
from vecdb_rerank.evaluation.report.history import page
from vecdb_rerank.evaluation.result import EvaluationResult

EVIL = "<script>alert(1)</script>"
FIRST = result(lambda _: 0.5, time="2026-01-01T00:00:00+00:00")
LATER = result(lambda _: 0.4, k=20, time="2026-02-01T00:00:00+00:00")
OTHER = result(lambda _: 0.9, time="2026-01-15T00:00:00+00:00", dataset=EVIL)
SNAPSHOTS = [Snapshot("later", LATER), Snapshot("other", OTHER), Snapshot("first", FIRST)]


def test_snapshots_of_a_collection_are_compared_in_the_order_of_their_times() -> None:
    found = histories(SNAPSHOTS)
    assert {name: [one.name for one in rows] for name, rows in found.items()} == {
        "d": ["first", "later"],
        EVIL: ["other"],
    }
    first, later = found["d"]
    assert (first.change, first.settings) == (None, None)
    assert later.change is not None
    assert (later.change["change"], later.change["lost"]) == (-0.1, True)
    assert later.settings == {"k": (50, 20)}


def test_settings_that_appear_or_vanish_are_differences() -> None:
    other = cast(EvaluationResult, json.loads(json.dumps(FIRST)))
    other["settings"] = {"search": {"mode": "dense", "depth": 3}}
    assert differences(FIRST, other) == {
        "search.mode": ("hybrid", "dense"),
        "reranker.type": ("onnx", None),
        "search.depth": (None, 3),
    }


def test_snapshots_without_common_queries_are_not_compared() -> None:
    other = cast(EvaluationResult, json.loads(json.dumps(LATER)))
    other["details"]["ndcg"] = {"another": {"first_pass": 0.0, "reranked": 1.0}}
    _, later = histories([Snapshot("a", FIRST), Snapshot("b", other)])["d"]
    assert later.change is None
    assert later.settings == {"k": (50, 20)}


def test_the_page_has_a_chart_for_each_collection_and_no_foreign_markup() -> None:
    shown = page(histories(SNAPSHOTS))
    assert shown.count("<svg") == 2
    assert "<script" not in shown
    assert "2026-02-01" in shown
    assert "<td>50</td><td>20</td>" in shown  # k, then and now


def test_the_command_prints_a_table_and_writes_the_page(tmp_path: Path) -> None:
    for name, one in (("a", FIRST), ("b", LATER)):
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    files = [str(tmp_path / "b.json"), str(tmp_path / "a.json")]
    file = tmp_path / "h.html"
    ended = CliRunner().invoke(app, ["history", *files, "--html", str(file)])
    assert ended.exit_code == 0, ended.output
    assert str(file) in ended.stderr
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("content", ["{}", "[1]"])
def test_a_file_that_is_no_snapshot_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert CliRunner().invoke(app, ["history", str(tmp_path / "a.json")]).exit_code == 1
