"""The notebook of examples/, executed on a collection that another program made."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.testing import CORPUS, QUERIES

NOTEBOOK = (
    Path(__file__).parents[2] / "examples" / "evaluation_notebook" / "evaluate_and_tune.ipynb"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the notebook's first cell asks for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(NOTEBOOK, tmp_path)
    (tmp_path / "vecdb_rerank.toml").write_text(
        f'[backend]\ntype = "qdrant"\npath = "{tmp_path}/index"\ncollection = "mine"\n'
        "[search]\nk = 20\n"
    )
    connector = factory.build(load(tmp_path / "vecdb_rerank.toml").settings)
    connector.create()
    connector.add(CORPUS)
    connector.close()
    lines = (json.dumps({"_id": name, "text": text}) for name, text in QUERIES.items())
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    with (tmp_path / "judgments.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("query", "docid", "rating"))
        rows.writerows((text, f"{name}-0", 1) for name, text in QUERIES.items())
    return tmp_path


def test_the_notebook_evaluates_tunes_and_draws(folder: Path) -> None:
    book = nbformat.read(folder / NOTEBOOK.name, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=100, resources={"metadata": {"path": str(folder)}}).execute()
    outputs: list[Any] = [output for cell in book.cells for output in cell.get("outputs", ())]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    tuned = load(folder / "tuned.toml").settings
    assert tuned.backend.collection == "mine"  # type: ignore[union-attr]
