"""Show the result of an evaluation as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.evaluation import details
from vecdb_rerank.evaluation.effort_curve import EffortRow
from vecdb_rerank.evaluation.metrics import Percentiles
from vecdb_rerank.evaluation.result import (
    ClassRow,
    EvaluationResult,
    EvaluationSummary,
    Gate,
    HitsRow,
    RecallCurve,
    stage_metrics,
    stage_times,
)
from vecdb_rerank.evaluation.significance import MIN_CHANGED, PairedDict
from vecdb_rerank.evaluation.yardstick import MIN_HALF, RERANKED, Yardstick, YardstickRow

if TYPE_CHECKING:
    from rich.table import Table

HITS_TITLE = "Why not just retrieve more?"
CLASS_COLUMNS = ("class", "queries", "first pass", "reranked", "change of NDCG@10")
EFFORT_TITLE = "Why not read fewer candidates?"
EFFORT_COLUMNS = ("documents read", "NDCG@10, others estimated", "others set aside", "ms")
HITS_COLUMNS = ("hits", "queries with a relevant one", "recall", "relevant hits", "characters")


def title(result: EvaluationSummary) -> str:
    """Return the collection, its size, k and the database in one line."""
    return (
        f"{result['dataset']}: {result['documents']:,} documents, "
        f"{result['queries']:,} queries, k={result['k']}, {result['backend']}"
    )


def table(result: EvaluationSummary) -> Table:
    """Return the summary as a table, one row per stage."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(title(result)))
    for n, name in enumerate(stage_columns(result)):
        shown.add_column(name, justify="right" if n else "left")
    for name, cells in stage_rows(result):
        shown.add_row(name, *cells, style="bold" if name.endswith("+rerank") else "")
    return shown


def stage_columns(result: EvaluationSummary) -> list[str]:
    """Return the column names of `stage_rows`."""
    first = next(iter(result["stages"].values()))
    return ["stage", *(_column(name) for name in stage_metrics(first)), "p50 ms", "p95 ms"]


def _column(metric: str) -> str:
    return metric.replace("_", " ").replace("ndcg", "NDCG").replace("mrr", "MRR")


def stage_rows(result: EvaluationSummary) -> list[tuple[str, list[str]]]:
    """Return the name of each stage and its numbers as text, empty where it has none."""
    names = stage_metrics(next(iter(result["stages"].values())))
    rows = []
    for stage, one in result["stages"].items():
        found = stage_metrics(one)
        numbers = (f"{found[name]:.3f}" if name in found else "" for name in names)
        rows.append((stage, [*numbers, *stage_times(one)]))
    return rows


def yardstick_cells(measured: Yardstick, row: YardstickRow) -> list[str]:
    """Return a row of the yardstick as text, in the order of `yardstick_columns`."""
    difference = row["difference"]
    shown = "" if difference is None else changed(difference["change"], difference["interval"])
    milliseconds = "" if row["p50_ms"] is None else f"{row['p50_ms']:.0f}"
    mark = "*" if row["setting"] and measured["small"] else ""
    return [row["name"] + mark, f"{row['ndcg@10']:.3f}", shown, milliseconds, row["setting"]]


def yardstick_columns(measured: Yardstick) -> list[str]:
    """Return the column names of `yardstick_cells`."""
    return ["order", "NDCG@10", f"against {measured['against']}", "p50 ms", "best on all queries"]


def yardstick_title(measured: Yardstick) -> str:
    """Return what the yardstick compares with what."""
    reranked = any(row["name"] == RERANKED for row in measured["rows"])
    return f"{'Reranking' if reranked else 'First passes'} against {measured['against']}"


def yardstick_caption(measured: Yardstick) -> str:
    """Return what the brackets are, how tuned rows were measured, and whether on few queries."""
    interval = "[95 % interval]"
    if not any(row["setting"] for row in measured["rows"]):
        return interval
    text = (
        f"tuned rows: chosen on one half of the queries and measured on the other, "
        f"{measured['splits']} splits; {interval}"
    )
    counted = "1 query" if measured["half"] == 1 else f"{measured['half']} queries"
    few = f"; * chosen on {counted}, fewer than {MIN_HALF}: mostly chance"
    return text + few if measured["small"] else text


def yardstick_table(measured: Yardstick) -> Table:
    """Return the yardstick as a table."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=yardstick_title(measured), caption=yardstick_caption(measured))
    for name in yardstick_columns(measured):
        shown.add_column(name, justify="right" if name in ("NDCG@10", "p50 ms") else "left")
    for row in measured["rows"]:
        style = "bold" if row["name"] == RERANKED else ""
        shown.add_row(*map(escape, yardstick_cells(measured, row)), style=style)
    return shown


def changed(change: float, interval: Sequence[float]) -> str:
    """Return a change with its interval, such as ``+0.021 [+0.008, +0.034]``."""
    low, high = interval
    return f"{change:+.3f} [{low:+.3f}, {high:+.3f}]"


def class_cells(row: ClassRow) -> list[str]:
    """Return a row of ``by_class`` as text, in the order of `CLASS_COLUMNS`."""
    return [
        row["class"],
        f"{row['queries']:,}",
        f"{row['first_pass']:.3f}",
        f"{row['reranked']:.3f}",
        changed(row["change"], row["interval"]),
    ]


def class_table(rows: Sequence[ClassRow]) -> Table:
    """Return a table of the classes of queries."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title="By class")
    for n, name in enumerate(CLASS_COLUMNS):
        shown.add_column(name, justify="right" if n else "left")
    for row in rows:
        shown.add_row(*map(escape, class_cells(row)))
    return shown


def gate_table(found: Gate) -> Table:
    """Return the comparison with an earlier run as a table."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=f"NDCG@10 against the baseline (allowed loss {found['max_loss']:g})")
    for name in ("queries", "count", "change", "p", ""):
        shown.add_column(name, justify="right" if name == "count" else "left")
    for row in found["rows"]:
        cells = (
            row["group"] or "all",
            f"{row['queries']:,}",
            changed(row["change"], row["interval"]),
            _p(row["p"]),
            "lost" if row["lost"] else "ok",
        )
        shown.add_row(*map(escape, cells), style="bold red" if row["lost"] else "")
    return shown


def hits_cells(row: HitsRow) -> list[str]:
    """Return a row of ``retrieve_more`` as text, in the order of `HITS_COLUMNS`."""
    return [
        row["hits"],
        f"{row['found']:.0%}",
        f"{row['recall']:.3f}",
        f"{row['relevant']:.0%}",
        f"{row['characters']:,.0f}",
    ]


def hits_table(result: EvaluationResult) -> Table:
    """Return a table of many first-pass hits against few reranked ones."""
    from rich.table import Table

    shown = Table(title=HITS_TITLE)
    for n, name in enumerate(HITS_COLUMNS):
        shown.add_column(name, justify="right" if n else "left")
    for row in result["details"]["retrieve_more"]:
        shown.add_row(*hits_cells(row), style="bold" if row["hits"].startswith("reranked") else "")
    return shown


def effort_cells(row: EffortRow) -> list[str]:
    """Return a row of ``effort_curve`` as text, in the order of `EFFORT_COLUMNS`."""
    milliseconds = "" if row["latency_ms"] is None else f"{row['latency_ms']:.0f}"
    return [
        f"{row['pairs']:,}",
        f"{row['estimated']:.3f}",
        f"{row['set_aside']:.3f}",
        milliseconds,
    ]


def effort_table(rows: Sequence[EffortRow]) -> Table:
    """Return the quality by the number of candidates that are read as a table."""
    from rich.table import Table

    shown = Table(title=EFFORT_TITLE)
    for name in EFFORT_COLUMNS:
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(*effort_cells(row))
    return shown


def sentences(result: EvaluationResult) -> list[str]:
    """Return the details that no table shows, one sentence each."""
    found = result["details"]
    mode = found["mode"]
    return [
        *(_change(mode, how) for mode, how in found["against_first_pass"].items()),
        *(_against(name, mode, how) for name, how in found["against_runs"].items()),
        _recall(mode, found["recall_curve"], result["k"]),
        _latency(mode, found["latency_ms"]),
        _judged(result),
        *_truncated(found["truncated"]),
        *_not_reranked(found["statuses"]),
    ]


def _change(mode: str, how: PairedDict) -> str:
    return f"{mode}: reranking changes NDCG@10 by {_paired(how)}."


def _against(name: str, mode: str, how: PairedDict) -> str:
    return f"{name}: {mode}+rerank differs in NDCG@10 by {_paired(how)}."


def _paired(how: PairedDict) -> str:
    moved = how["wins"] + how["losses"]
    few = f", fewer than {MIN_CHANGED} changed: too few for a test" if moved < MIN_CHANGED else ""
    return (
        f"{changed(how['change'], how['interval'])}, p {_p(how['p'])}; queries: {how['wins']} "
        f"better, {how['losses']} worse, {how['ties']} equal{few}"
    )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _recall(mode: str, curve: RecallCurve, k: int) -> str:
    whole = curve["recall"][str(details.DEEP_K)]
    return (
        f"{mode}: 95 % of recall@{details.DEEP_K} ({whole:.3f}) is reached at "
        f"k = {curve['k_for_95']}; the configured k is {k}."
    )


def _latency(mode: str, stages: dict[str, Percentiles] | None) -> str:
    if stages is None:
        return f"{mode}: reranking was not timed, since scores came from the cache."
    parts = (
        f"{name.replace('_', ' ')} {t['p50']:.0f}/{t['p95']:.0f}" for name, t in stages.items()
    )
    return f"{mode}, p50/p95 in ms: {', '.join(parts)}."


def _truncated(count: int | None) -> list[str]:
    return [f"The reranker read only the beginning of {count:,} documents."] if count else []


def _judged(result: EvaluationSummary) -> str:
    queries = result["with_negatives"]
    if not queries:
        return (
            "Condensed NDCG and bpref are left out: no document is judged not relevant (grade 0), "
            "and both are then perfect for any order of the relevant ones."
        )
    return (
        f"Condensed NDCG and bpref are means over the {queries:,} queries that have a document "
        "judged not relevant."
    )


def _not_reranked(statuses: Mapping[str, int]) -> list[str]:
    others = {name: count for name, count in statuses.items() if name != "reranked"}
    if not others:
        return []
    counted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in others.items())
    return [f"Not all of {sum(statuses.values()):,} searches were fully reranked: {counted}."]


def environment_line(result: EvaluationResult) -> str:
    """Return when, with what and where the result was measured, in one line."""
    found = result["environment"]
    return (
        f"Measured {found['time']}, vecdb-rerank {found['version']}, Python {found['python']}, "
        f"{found['machine']}, {found['cores']} cores; reranker {result['reranker'] or 'none'}."
    )
