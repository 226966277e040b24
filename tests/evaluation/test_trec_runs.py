"""TREC runs: ours scored by other tools, and other systems' runs compared with ours."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from ir_measures import RR, R, nDCG
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import metrics, trec_runs
from vecdb_rerank.testing import CORPUS, QUERIES

QRELS = {"q 1": {"d 3": 2, "d5": 1}, "q2": {"d1": 1, "d%20x": 1}}
RANKED = {
    "q 1": [f"d {n}" for n in range(9)],
    "q2": ["d%20x", "d7", "d x", "d1"],
    "q%201": ["d%20x"],
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(ranked: metrics.Ranked) -> Path:
    path = Path("run.trec")
    path.write_text("".join(trec_runs.lines(ranked, "ours")), encoding="utf-8")
    return path


def test_a_run_is_read_as_it_was_written() -> None:
    ranked, notes = trec_runs.read(write(RANKED), dict.fromkeys(RANKED, ""), QRELS)
    assert ranked == RANKED
    assert notes == []


def test_scores_fall_strictly_in_single_precision() -> None:
    many = {"q": [f"d{n}" for n in range(10_000)]}
    scores = [float(line.split()[4]) for line in trec_runs.lines(many, "ours")]
    single = [struct.unpack("f", struct.pack("f", score))[0] for score in scores]
    assert all(a > b for a, b in pairwise(single))


def test_another_tool_measures_the_same() -> None:
    def in_trec(path: str, qrels: Mapping[str, Mapping[str, int]]) -> Path:
        rows = (f"{q} 0 {d} {g}\n" for q, judged in qrels.items() for d, g in judged.items())
        Path(path).write_text("".join(rows))
        return Path(path)

    qrels = {"q1": {"d3": 2, "d5": 1, "d7": 0}, "q2": {"d1": 1, "x": 1}}
    ranked = {"q1": [f"d{n}" for n in range(9)], "q2": ["x", "d7", "d1"]}
    tool: Any = ir_measures
    found = tool.calc_aggregate(
        [nDCG @ 10, RR @ 10, R @ 5],
        tool.read_trec_qrels(str(in_trec("qrels", qrels))),
        tool.read_trec_run(str(write(ranked))),
    )
    ours = metrics.quality(ranked, qrels, 5)
    assert found[nDCG @ 10] == pytest.approx(ours["ndcg@10"], abs=1e-9)
    assert found[RR @ 10] == pytest.approx(ours["mrr@10"], abs=1e-9)
    assert found[R @ 5] == pytest.approx(ours["recall@5"], abs=1e-9)


def test_a_run_is_ordered_by_score_then_rank() -> None:
    Path("theirs").write_text(
        "q Q0 c 2 1 x\r\nq Q0 a 3 7e-1 x\r\nq Q0 b 1 1.0 x\r\nz Q0 a 1 1 x\r\n"
    )
    ranked, notes = trec_runs.read(Path("theirs"), {"q": "", "r": ""}, {})
    assert ranked == {"q": ["b", "c", "a"], "r": []}
    missing, extra = notes
    assert "'r'" in missing
    assert "theirs:4" in extra


@pytest.mark.parametrize(
    ("content", "key", "word"),
    [
        ("q Q0 a 1 1 x\nq a 2\n", "theirs:2", "6|values"),
        ("q Q0 a 1 best x\n", "theirs:1", "numbers"),
        ("q Q0 a 1 nan x\n", "theirs:1", "finite"),
        ("q Q0 a 1 2 x\nq Q0 a 2 1 x\n", "theirs:2", "twice"),
        ("z Q0 a 1 2 x\n", "theirs", "'z'"),
        ("\n", "theirs", "empty"),
    ],
)
def test_a_wrong_run_is_named_by_file_and_line(content: str, key: str, word: str) -> None:
    Path("theirs").write_text(content)
    with pytest.raises(ConfigurationError, match=word) as caught:
        trec_runs.read(Path("theirs"), {"q": ""}, {})
    assert caught.value.key == key


def test_an_evaluation_writes_a_run_and_compares_another() -> None:
    queries = {name: QUERIES[name] for name in ("bread", "sailing")}
    Path("corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": d["id"], "text": d["text"]}) for d in CORPUS[:10])
    )
    Path("queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": name, "text": text}) for name, text in queries.items())
    )
    Path("qrels.tsv").write_text("".join(f"{name}\t{name}-0\t1\n" for name in queries))
    worst = {name: [f"{name}-4", f"{name}-0"] for name in queries}
    Path("theirs.trec").write_text("".join(trec_runs.lines(worst, "theirs")))
    Path("vecdb_rerank.toml").write_text('[backend]\npath = ":memory:"\n')
    Path("runs").mkdir()
    options = ("--modes", "bm25,hybrid", "--k", "5", "--json", "result.json")
    ended = CliRunner().invoke(
        app,
        ["evaluate", ".", *options, "--run", "theirs.trec", "--run-out", "runs"],
        catch_exceptions=False,
    )
    assert ended.exit_code == 0, ended.output
    result = json.loads(Path("result.json").read_text())
    assert result["stages"]["run theirs.trec"]["mrr@10"] == 0.5
    assert result["details"]["against_runs"]["run theirs.trec"]["wins"] == 2
    written = sorted(path.stem for path in Path("runs").iterdir())
    assert written == ["bm25", "bm25+rerank", "hybrid", "hybrid+rerank"]
    qrels = {name: {f"{name}-0": 1} for name in queries}
    ours, _ = trec_runs.read(Path("runs/hybrid+rerank.trec"), queries, qrels)
    mean = metrics.quality(ours, qrels, 5)["ndcg@10"]
    assert result["stages"]["hybrid+rerank"]["ndcg@10"] == pytest.approx(mean, abs=1e-4)
