"""A program written against a database's own client, before and after the client was wrapped."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTE = "To take back the latest change, run git revert HEAD; the history stays as it was."


def answer(program: Path, **environment: str) -> list[str]:
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def added(before: Path, after: Path) -> list[str]:
    """The lines that ``after`` has more, where nothing else differs."""
    lines = difflib.ndiff(before.read_text().splitlines(), after.read_text().splitlines())
    changed = [line for line in lines if line[0] in "+-" and line[2:].strip()]
    return [line[2:] for line in changed if line[0] == "+"]


def test_a_program_for_qdrant_is_reranked_by_one_wrapping_line() -> None:
    before, after = (EXAMPLES / "drop_in_qdrant" / f for f in ("search.py", "reranked.py"))
    assert added(before, after) == [
        "from vecdb_rerank_qdrant import RerankingQdrantClient",
        'client = RerankingQdrantClient(QdrantClient(":memory:"))',
    ]
    first, second = answer(before), answer(after)
    assert len(first) == len(second) == 2
    assert NOTE not in first[0]
    assert second[0].endswith(NOTE)


def test_a_program_for_opensearch_is_reranked_by_one_wrapping_line(opensearch_url: str) -> None:
    before, after = (EXAMPLES / "drop_in_opensearch" / f for f in ("search.py", "reranked.py"))
    assert added(before, after) == [
        "from vecdb_rerank_opensearch import RerankingOpenSearch",
        "client = RerankingOpenSearch(OpenSearch(URL))",
    ]
    first, second = (answer(program, OPENSEARCH_URL=opensearch_url) for program in (before, after))
    assert len(first) == len(second) == 2
    assert NOTE not in first[0]
    assert second[0].endswith(NOTE)
