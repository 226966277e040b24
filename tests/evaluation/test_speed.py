"""Measure rerankers on this machine, and recommend one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.evaluation.speed import Latency, Speed, recommended

runner = CliRunner()


def speed(name: str, pairs: float, **p95: float) -> Speed:
    latencies = tuple(Latency(int(k[1:]), 5, value / 2, value) for k, value in p95.items())
    return Speed(name, latencies, pairs)


def test_the_most_documents_in_time_are_recommended() -> None:
    small = speed("small", 1_000, k10=10, k50=50, k100=100)
    large = speed("large", 100, k10=90, k50=480, k100=990)
    broken = Speed("broken", error="no weights")
    assert recommended([small, large, broken], 60) == (small, 50)
    assert recommended([small, large, broken], 500) == (small, 100)
    assert recommended([small, large, broken], 1_000) == (large, 100)
    assert recommended([small, large, broken], 5) is None
    assert recommended([broken], 1_000) is None


def test_the_command_measures_the_bundled_model_and_names_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vecdb_rerank.toml").write_text(
        '[reranker]\ntype = "http"\nurl = "http://127.0.0.1:9"\nmodel = "m"\nretries = 0\n'
    )
    options = ["--k", "2,4", "--seconds", "0", "--words", "8", "--json", "--remote"]
    result = runner.invoke(app, ["bench", *options])
    assert result.exit_code == 0, result.output
    onnx, failed = json.loads(result.stdout)
    assert (
        list(onnx)
        == list(failed)
        == [
            "name",
            "latencies",
            "pairs",
            "tokens",
            "load",
            "peak_mb",
            "gpu_mb",
            "error",
        ]
    )
    assert onnx["name"] == "onnx:ms-marco-MiniLM-L-12-v2"
    assert [each["k"] for each in onnx["latencies"]] == [2, 4]
    assert all(each["calls"] >= 5 and 0 < each["p50"] <= each["p95"] for each in onnx["latencies"])
    assert onnx["pairs"] > 0
    assert onnx["peak_mb"] > 50
    assert "127.0.0.1:9" in failed["error"]


def test_a_service_is_left_out_and_the_table_says_what_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vecdb_rerank.toml").write_text('[reranker]\ntype = "cohere"\napi_key = "x"\n')
    result = runner.invoke(
        app, ["bench", "--k", "2", "--seconds", "0", "--words", "8", "--budget", "60000"]
    )
    assert result.exit_code == 0, result.output
    assert "onnx:ms-marco-MiniLM-L-12-v2 with k = 2" in result.stdout
    assert "cohere" not in result.stdout


def test_a_wrong_k_is_refused() -> None:
    assert runner.invoke(app, ["bench", "--k", "ten"]).exit_code == 2
