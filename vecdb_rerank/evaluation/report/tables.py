"""An evaluation's results as data and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vecdb_rerank.evaluation import details, metrics
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.runs import Run

if TYPE_CHECKING:
    from rich.table import Table

SNIPPET = 500  # characters of a document in a report


def summary(dataset: Dataset, runs: Mapping[str, Run], k: int, backend: str) -> dict[str, Any]:
    """The JSON form: metrics (0 to 1, four digits) and latencies (ms) by stage.

    A stage's latency is None where scores came from a cache.
    """
    return {
        "dataset": dataset.name,
        "documents": len(dataset.corpus),
        "queries": len(dataset.queries),
        "k": k,
        "backend": backend,
        "stages": {
            stage: {
                **_rounded(metrics.quality(run.ranked, dataset.qrels, k), 4),
                "latency_ms": (
                    None if run.cached else _rounded(metrics.latency(run.latencies_ms), 1)
                ),
            }
            for stage, run in runs.items()
        },
    }


def detailed(
    dataset: Dataset, runs: Mapping[str, Run], deep: Run, mode: str, k: int, text: details.Text
) -> dict[str, Any]:
    """What `details` finds in the runs of one mode (and its ``deep`` first pass), as JSON."""
    raw, reranked = runs[mode], runs[f"{mode}+rerank"]
    qrels = dataset.qrels
    more = raw if k >= details.MORE else deep
    found = {
        "mode": mode,
        "against_first_pass": {
            name: details.comparison(run.ranked, runs[f"{name}+rerank"].ranked, qrels)
            for name, run in runs.items()
            if f"{name}+rerank" in runs
        },
        "changes": details.changes(raw.ranked, reranked.ranked, qrels),
        "recall_curve": details.recall_curve(deep.ranked, qrels),
        "retrieve_more": details.retrieve_more(more.ranked, reranked.ranked, qrels, text),
        "latency_ms": details.stage_latency(reranked),
        "truncated": None if reranked.cached else reranked.truncated,
        "worst": details.worst(dataset, raw, reranked, lambda d: text(d)[:SNIPPET]),
    }
    return {name: _deeply_rounded(value) for name, value in found.items()}


def table(result: Mapping[str, Any]) -> Table:
    """The summary as a table, a row a stage."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(title(result)))
    names = [name for name in next(iter(result["stages"].values())) if name != "latency_ms"]
    shown.add_column("stage")
    for name in [*(name.upper() for name in names), "p50 ms", "p95 ms"]:
        shown.add_column(name, justify="right")
    for stage, values in result["stages"].items():
        latency = values["latency_ms"]
        cells = [f"{values[name]:.3f}" for name in names]
        times = [f"{latency[p]:.0f}" for p in ("p50", "p95")] if latency else ["cached", "cached"]
        style = "bold" if stage.endswith("+rerank") else ""
        shown.add_row(stage, *cells, *times, style=style)
    return shown


MORE = "Why not just retrieve more?"
MORE_COLUMNS = ("hits", "queries with a relevant one", "recall", "relevant hits", "characters")


def more_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of `details.retrieve_more` as texts, under `MORE_COLUMNS`."""
    return [
        row["hits"],
        f"{row['found']:.0%}",
        f"{row['recall']:.3f}",
        f"{row['relevant']:.0%}",
        f"{row['characters']:,.0f}",
    ]


def more_table(result: Mapping[str, Any]) -> Table:
    """Many hits of the first pass against few reranked ones."""
    from rich.table import Table

    shown = Table(title=MORE)
    for n, name in enumerate(MORE_COLUMNS):
        shown.add_column(name, justify="right" if n else "left")
    for row in result["details"]["retrieve_more"]:
        shown.add_row(*more_cells(row), style="bold" if row["hits"].startswith("reranked") else "")
    return shown


def title(result: Mapping[str, Any]) -> str:
    """What was measured, in a line."""
    return (
        f"{result['dataset']}: {result['documents']:,} documents, "
        f"{result['queries']:,} queries, k={result['k']}, {result['backend']}"
    )


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The details that a table of means does not show, a sentence each."""
    found = result["details"]
    return [
        *(_against(mode, how) for mode, how in found["against_first_pass"].items()),
        _recall(found["mode"], found["recall_curve"], result["k"]),
        *_latency(found["mode"], found["latency_ms"]),
        *_truncated(found["truncated"]),
    ]


def _against(mode: str, how: Mapping[str, Any]) -> str:
    low, high = how["interval"]
    return (
        f"{mode}: reranking changes NDCG@10 by {how['change']:+.3f} [{low:+.3f}, {high:+.3f}], "
        f"p {_p(how['p'])}; {how['wins']} queries better, {how['losses']} worse, "
        f"{how['ties']} alike."
    )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _recall(mode: str, curve: Mapping[str, Any], k: int) -> str:
    all_of_it = curve["recall"][str(details.DEEP)]
    return (
        f"{mode}: 95 % of recall@{details.DEEP} ({all_of_it:.3f}) is reached at "
        f"k = {curve['k_for_95']}; here k = {k}."
    )


def _latency(mode: str, stages: Mapping[str, Mapping[str, float]] | None) -> list[str]:
    if stages is None:
        return [f"{mode}: no times of the reranker, since scores came from the cache."]
    parts = (
        f"{name.replace('_', ' ')} {t['p50']:.0f}/{t['p95']:.0f}" for name, t in stages.items()
    )
    return [f"{mode}, p50/p95 in ms: {', '.join(parts)}."]


def _truncated(count: int | None) -> list[str]:
    return [f"The reranker read only the beginning of {count:,} documents."] if count else []


def _rounded(values: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}


def _deeply_rounded(value: Any) -> Any:
    """A structure with its numbers to four digits."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {name: _deeply_rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_deeply_rounded(inner) for inner in value]
    return value
