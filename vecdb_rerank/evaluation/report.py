"""An evaluation's results as data and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.runs import Run

if TYPE_CHECKING:
    from rich.table import Table


def summary(dataset: Dataset, runs: Mapping[str, Run], k: int, backend: str) -> dict[str, Any]:
    """The JSON form: metrics (0 to 1, four digits) and latencies (ms) by stage."""
    return {
        "dataset": dataset.name,
        "documents": len(dataset.corpus),
        "queries": len(dataset.queries),
        "k": k,
        "backend": backend,
        "stages": {
            stage: {
                **_rounded(metrics.quality(run.ranked, dataset.qrels, k), 4),
                "latency_ms": _rounded(metrics.latency(run.latencies_ms), 1),
            }
            for stage, run in runs.items()
        },
    }


def table(result: Mapping[str, Any]) -> Table:
    """The summary as a table, a row a stage."""
    from rich.markup import escape
    from rich.table import Table

    title = (
        f"{escape(result['dataset'])}: {result['documents']:,} documents, "
        f"{result['queries']:,} queries, k={result['k']}, {result['backend']}"
    )
    shown = Table(title=title)
    names = [name for name in next(iter(result["stages"].values())) if name != "latency_ms"]
    shown.add_column("stage")
    for name in [*(name.upper() for name in names), "p50 ms", "p95 ms"]:
        shown.add_column(name, justify="right")
    for stage, values in result["stages"].items():
        latency = values["latency_ms"]
        cells = [f"{values[name]:.3f}" for name in names]
        style = "bold" if stage.endswith("+rerank") else ""
        shown.add_row(stage, *cells, f"{latency['p50']:.0f}", f"{latency['p95']:.0f}", style=style)
    return shown


def _rounded(values: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
