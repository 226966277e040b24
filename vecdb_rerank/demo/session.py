"""The demo's index: an embedded Qdrant on disk, built once per Python version and corpus."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb_rerank._version import __version__
from vecdb_rerank.cache_folder import cache_folder
from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.demo.corpus import standard_library
from vecdb_rerank.demo.questions import questions
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import Progress
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.result import EvaluationSummary, summary

COLLECTION = "python-standard-library"


@dataclass(frozen=True, slots=True)
class Demo:
    """The index of this Python's standard library, and its folder."""

    connector: Any
    documents: int
    folder: Path

    def measured(self, on_progress: Progress) -> EvaluationSummary:
        """Return quality and latency over all judged questions; later calls read them from disk."""
        file = self.folder / "measured.json"
        if not file.exists():
            file.write_text(json.dumps(self._measure(on_progress)), encoding="utf-8")
        result: EvaluationSummary = json.loads(file.read_text(encoding="utf-8"))
        return result

    def _measure(self, on_progress: Progress) -> EvaluationSummary:
        judged = questions()
        dataset = Dataset(
            "Python's standard library",
            ({},) * self.documents,
            {q.id: q.text for q in judged},
            {q.id: q.relevant for q in judged},
        )
        found: dict[str, runs.Run] = {}
        total = len(judged) * len(runs.MODES)
        done = iter(range(1, total + 1))
        for mode in runs.MODES:
            found |= runs.run(
                self.connector,
                dataset.queries,
                modes=[mode],
                rerank=mode == "hybrid",
                on_progress=lambda: on_progress("measuring", next(done), total),
            )
        return summary(dataset, found, 50, "embedded Qdrant")


def open_demo(on_progress: Progress) -> Demo:
    """Open the index, and build it if it is missing; ``on_progress`` gets (what, done, total)."""
    documents = [{"_id": entry.id, **entry.payload()} for entry in standard_library()]
    folder = cache_folder() / f"demo-{_version(documents)}"
    connector = factory.build(
        Settings(
            backend={"type": "qdrant", "path": folder, "collection": COLLECTION},
            policy={"deadline": None},
        )
    )
    complete = folder / "complete"
    if not complete.exists():
        what, total = "indexing the standard library", len(documents)
        connector.create()
        connector.add(documents, on_progress=lambda done: on_progress(what, done, total))
        complete.touch()
    return Demo(connector, len(documents), folder)


def remove_demos() -> None:
    """Delete everything that demos keep on disk."""
    for folder in cache_folder().glob("demo-*"):
        shutil.rmtree(folder)


def _version(documents: list[dict[str, Any]]) -> str:
    """Return a name that changes with everything the index depends on."""
    content = json.dumps([__version__, documents], sort_keys=True).encode()
    return f"{platform.python_version()}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"
