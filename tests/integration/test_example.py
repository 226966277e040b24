"""The program of the documentation, given two configuration files, answers from both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vecdb_rerank.testing.base import new_name

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_backends"


def answer(config: str, folder: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE / "search.py", EXAMPLE / config],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_same_program_answers_from_qdrant_and_from_opensearch(
    opensearch_url: str, tmp_path: Path
) -> None:
    *from_qdrant, qdrant_said = answer("qdrant.toml", tmp_path)
    *from_opensearch, opensearch_said = answer(
        "opensearch.toml",
        tmp_path,
        VECDB_RERANK__BACKEND__URL=opensearch_url,
        VECDB_RERANK__BACKEND__COLLECTION=new_name(),
    )
    assert from_qdrant == from_opensearch
    assert from_qdrant[0].endswith("1  Undo a commit")
    assert qdrant_said == "QueryResponse from qdrant was reranked"
    assert opensearch_said == "dict from opensearch was reranked"


def test_the_two_files_differ_in_one_word() -> None:
    one, other = ((EXAMPLE / f"{name}.toml").read_text() for name in ("qdrant", "opensearch"))
    assert one.replace("qdrant", "opensearch") == other
