"""Fitting a calibration to judged queries, and the command."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.calibrate import calibrate, fitted
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.model import sigmoid
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.testing import CORPUS, QUERIES


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use neither the user's cache nor the user's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def dataset(count: int = 30) -> Dataset:
    """Each question with its own subject's documents as the relevant ones."""
    documents = tuple({"_id": d["id"], "text": d["text"]} for d in CORPUS[:count])
    qrels = {
        subject: {d["_id"]: 1 for d in documents if str(d["_id"]).startswith(subject)}
        for subject in QUERIES
    }
    return Dataset("tiny", documents, dict(QUERIES), qrels)


@pytest.mark.parametrize("true", [Calibration(0.5, -1.0), Calibration(2.0, 1.5)])
def test_the_calibration_that_made_the_judgments_is_found(true: Calibration) -> None:
    dice = random.Random(0)
    given = [sigmoid(dice.uniform(-6, 6)) for _ in range(2000)]
    found = fitted("m", [(r, dice.random() < true.relevance(r)) for r in given])
    assert found.calibration.slope == pytest.approx(true.slope, rel=0.15)
    assert found.calibration.intercept == pytest.approx(true.intercept, abs=0.3)
    assert found.loss_after < found.loss_before


def test_judgments_of_one_kind_are_refused() -> None:
    for judged in (True, False):
        with pytest.raises(ConfigurationError) as caught:
            fitted("m", [(0.3, judged), (0.7, judged)])
        assert caught.value.key == "qrels"


def test_it_is_fitted_to_the_rerankers_own_relevance() -> None:
    settings = Settings(backend={"path": ":memory:"})
    judged = dataset(15).sample(3)
    found = calibrate(settings, judged, k=10)
    rules = {"onnx:ms-marco-MiniLM-L-12-v2": Calibration(3.0, 2.0)}
    again = settings.model_copy(update={"policy": Policy(calibration=rules)})
    assert found.pairs == 10 * 3
    assert 0 < found.relevant < found.pairs
    assert found.loss_after < found.loss_before
    assert calibrate(again, judged, k=10) == found


def test_without_a_reranker_there_is_nothing_to_calibrate() -> None:
    settings = Settings(backend={"path": ":memory:"}, reranker={"type": "none"})
    with pytest.raises(ConfigurationError) as caught:
        calibrate(settings, dataset(5))
    assert caught.value.key == "reranker.type"


def test_an_order_has_nothing_to_calibrate() -> None:
    llm = {"type": "llm", "url": "http://127.0.0.1:9", "model": "m"}
    settings = Settings(backend={"path": ":memory:"}, reranker=llm)
    with pytest.raises(ConfigurationError) as caught:
        calibrate(settings, dataset(5))
    assert caught.value.key == "reranker.mode"


def test_the_command_prints_settings_that_can_be_used(tmp_path: Path) -> None:
    given = dataset(15)
    lines = "".join(f"{json.dumps(d)}\n" for d in given.corpus)
    (tmp_path / "corpus.jsonl").write_text(lines, encoding="utf-8")
    queries = "".join(f"{json.dumps({'_id': q, 'text': t})}\n" for q, t in given.queries.items())
    (tmp_path / "queries.jsonl").write_text(queries, encoding="utf-8")
    rows = [f"{q}\t{i}\t{n}\n" for q, judged in given.qrels.items() for i, n in judged.items()]
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "qrels.tsv").write_text(header + "".join(rows), encoding="utf-8")
    ended = CliRunner().invoke(app, ["calibrate", str(tmp_path), "--k", "10"])
    assert ended.exit_code == 0, ended.output
    printed = tomllib.loads(ended.stdout)
    [(name, values)] = printed["policy"]["calibration"].items()
    assert name.startswith("onnx:")
    policy = load(policy=printed["policy"]).settings.policy
    assert policy.calibration[name] == Calibration(values["slope"], values["intercept"])
