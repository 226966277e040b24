"""The programs of examples/, started as a reader would start them."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.testing.base import new_name

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An example's own copy, which it may write into."""
    return Path(shutil.copytree(EXAMPLES / request.param, tmp_path / "example"))


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it; a warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("folder", ["batch_evaluation"], indirect=True)
def test_the_batch_evaluation_compares_and_decides(folder: Path) -> None:
    done = run(folder, "evaluate.py", "collection", COLUMNS="120")
    rows = re.findall(r"^│ (.*?) +│ +([\d.]+) │ +([\d.]+) │ +([\d.]+) │", done.stdout, re.MULTILINE)
    measured = {name: tuple(map(float, figures)) for name, *figures in rows}
    assert len(measured) == 4, done.stdout + done.stderr
    before, after, recall = measured["default, k=50"]
    assert recall == 1.0
    lost = any(
        after < before - 0.01 for name, (before, after, _) in measured.items() if "default" in name
    )
    assert done.returncode == int(lost), done.stderr
    assert 0 < before <= 1
    assert 0 < after <= 1


@pytest.mark.parametrize("folder", ["train_reranker"], indirect=True)
def test_a_trained_reranker_learns_and_loads(folder: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.cross_encoder import CrossEncoder
    from torch.nn import Identity

    from tests.torch_engine import checkpoints
    from vecdb_rerank.evaluation import datasets

    collection = EXAMPLES / "batch_evaluation" / "collection"
    base = checkpoints.bert(folder / "base")
    options = ("--epochs", "60", "--learning-rate", "1e-3", "--negatives", "3")
    # Threads would wait for each other longer than such a small model computes.
    done = run(folder, "train.py", str(collection), str(base), "out", *options, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "6 queries, 26 pairs, 8 relevant" in done.stdout

    dataset, held_out = datasets.load(collection), datasets.load(folder / "out" / "held_out")
    assert len(held_out.queries) == 2
    assert held_out.queries.items() <= dataset.queries.items()
    assert held_out.corpus == dataset.corpus
    texts = {str(d["_id"]): f"{d['title']}\n{d['text']}" for d in dataset.corpus}

    def scores(model: Path, query: str) -> dict[str, float]:
        reranker = CrossEncoderReranker(str(model), device="cpu", dtype="float32")
        raw = reranker.score(query, list(texts.values()), deadline=Deadline()).raw
        return {key: float(x or 0.0) for key, x in zip(texts, raw, strict=True)}

    def lead(model: Path) -> float:
        """How much higher relevant documents of the training queries score, in the mean."""
        columns: tuple[list[float], list[float]] = ([], [])
        for key in dataset.queries.keys() - held_out.queries.keys():
            for doc, score in scores(model, dataset.queries[key]).items():
                columns[dataset.qrels[key].get(doc, 0) == 0].append(score)
        return statistics.fmean(columns[0]) - statistics.fmean(columns[1])

    trained = folder / "out" / "model"
    assert lead(trained) > abs(lead(base)) + 1.0
    query = next(iter(dataset.queries.values()))
    other = CrossEncoder(str(trained), activation_fn=Identity(), device="cpu")
    expected = other.predict([(query, text) for text in texts.values()])
    assert list(scores(trained, query).values()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("folder", ["two_backends"], indirect=True)
def test_the_same_program_answers_from_qdrant_and_from_opensearch(
    folder: Path, opensearch_url: str
) -> None:
    from_qdrant = run(folder, "search.py", "qdrant.toml")
    from_opensearch = run(
        folder,
        "search.py",
        "opensearch.toml",
        VECDB_RERANK__BACKEND__URL=opensearch_url,
        VECDB_RERANK__BACKEND__COLLECTION=new_name(),
    )
    *hits, qdrant_said = from_qdrant.stdout.splitlines()
    *others, opensearch_said = from_opensearch.stdout.splitlines()
    assert hits == others
    assert hits[0].endswith("1  Undo a commit")
    assert qdrant_said == "QueryResponse from qdrant was reranked"
    assert opensearch_said == "dict from opensearch was reranked"


def test_its_two_files_differ_in_one_word() -> None:
    here = EXAMPLES / "two_backends"
    one, other = ((here / f"{name}.toml").read_text() for name in ("qdrant", "opensearch"))
    assert one.replace("qdrant", "opensearch") == other


@pytest.mark.parametrize("folder", ["beyond_relevance"], indirect=True)
def test_the_shop_orders_a_page_beyond_relevance(folder: Path) -> None:
    done = run(folder, "shop.py")
    assert done.returncode == 0, done.stderr
    plain, beyond = done.stdout.split("beyond:")
    assert "stock 0 " in plain
    assert "stock 0 " not in beyond
    assert beyond.split()[1] == "gift-card"
