"""How far the reading of files is, and how many documents they seem to hold."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from random import Random

import pytest

from vecdb_rerank.ingest.files import DocumentFiles
from vecdb_rerank.text_fields import TextFields

TEXTS = [Random(n).randbytes(200).hex() for n in range(3_000)]  # which compress by half
LINES = [json.dumps({"id": n, "text": text}) for n, text in enumerate(TEXTS)]


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "docs.jsonl.gz"])
def test_the_number_of_documents_is_estimated_and_then_known(name: str, tmp_path: Path) -> None:
    lines = LINES
    if name == "docs.csv":
        lines = ["id,text", *(f"{n},{text}" for n, text in enumerate(TEXTS))]
    content = "\n".join(lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    documents = DocumentFiles([path, path], TextFields())
    found = [documents.total for _ in documents]
    half = found[3_000]
    assert half is not None
    assert 4_800 < half < 7_200
    assert documents.total == 6_000


def test_a_folder_is_all_of_its_files(tmp_path: Path) -> None:
    for n in range(60):
        (tmp_path / f"{n:02}.txt").write_text("some text")
    documents = DocumentFiles([tmp_path], TextFields())
    assert documents.total == 60
    assert len(list(documents)) == documents.total == 60


def test_a_pipe_has_no_estimate() -> None:
    source, target = os.pipe()
    os.write(target, LINES[0].encode())
    os.close(target)
    documents = DocumentFiles([Path(f"/dev/fd/{source}")], TextFields())
    assert documents.total is None
    assert len(list(documents)) == 1
    assert documents.total is None
    os.close(source)
