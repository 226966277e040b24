"""Show snapshots of evaluations over time, as a table and as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from vecdb_rerank.evaluation.history import Snapshot
from vecdb_rerank.evaluation.report import charts, tables
from vecdb_rerank.evaluation.report.html import document, table
from vecdb_rerank.evaluation.result import stage_metrics, stage_times
from vecdb_rerank.evaluation.yardstick import TUNED_FUSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

COLUMNS = (
    *("snapshot", "time", "version", "queries", "k", "first pass", TUNED_FUSION, "reranked"),
    *("change", "p", "p50 ms", "answer"),
)


def cells(one: Snapshot) -> list[str]:
    """Return a snapshot as text, in the order of `COLUMNS`."""
    result, change = one.result, one.change
    mode = result["details"]["mode"]
    reranked = result["stages"][f"{mode}+rerank"]
    return [
        one.name,
        result["environment"]["time"][:16].replace("T", " "),
        result["environment"]["version"],
        f"{result['queries']:,}",
        str(result["k"]),
        *(_ndcg(one, stage) for stage in (mode, TUNED_FUSION, f"{mode}+rerank")),
        "" if change is None else tables.changed(change["change"], change["interval"]),
        "" if change is None else f"{change['p']:.3f}",
        stage_times(reranked)[0],
        result["verdict"]["answer"],
    ]


def history_table(dataset: str, snapshots: Sequence[Snapshot]) -> Table:
    """Return the snapshots of a collection as a table."""
    from rich.markup import escape as markup
    from rich.table import Table

    shown = Table(title=markup(f"{dataset}: NDCG@10"), caption="change: against the row before")
    for name in COLUMNS:
        shown.add_column(name)
    for one in snapshots:
        lost = one.change is not None and one.change["lost"]
        shown.add_row(*map(markup, cells(one)), style="bold red" if lost else "")
    return shown


def page(histories: Mapping[str, Sequence[Snapshot]]) -> str:
    """Return an HTML page with a section for each collection; all text is escaped."""
    parts = ["<h1>Search quality over time</h1>"]
    for dataset, snapshots in histories.items():
        parts += [
            f"<h2>{escape(dataset)}</h2>",
            f"<figure>{charts.svg(_lines, snapshots)}</figure>",
            table(COLUMNS, map(cells, snapshots)),
            '<p class="note">NDCG@10; change: of the reranked order, against the row before, '
            "[95 % interval]</p>",
            *map(_changed_settings, snapshots),
        ]
    return document("Search quality over time", parts)


def _changed_settings(one: Snapshot) -> str:
    if not one.settings:
        return ""
    rows = ((path, str(then), str(now)) for path, (then, now) in one.settings.items())
    return f"<h3>Settings changed with {escape(one.name)}</h3>" + table(
        ("setting", "then", "now"), rows
    )


def _lines(axes: Axes, snapshots: Sequence[Snapshot]) -> None:
    """Draw NDCG@10 of first pass, tuned fusion and reranked order by snapshot."""
    places = range(len(snapshots))
    mode = snapshots[-1].result["details"]["mode"]
    for stage, label, color in (
        (mode, "first pass", charts.BEFORE),
        (TUNED_FUSION, TUNED_FUSION, charts.BETTER),
        (f"{mode}+rerank", "reranked", charts.AFTER),
    ):
        values = [
            stage_metrics(one.result["stages"][stage])["ndcg@10"]
            if stage in one.result["stages"]
            else float("nan")
            for one in snapshots
        ]
        axes.plot(places, values, color=color, marker="o", markersize=4, label=label)
    axes.set_xticks(places, [one.name for one in snapshots], rotation=20, ha="right")
    axes.set_title("NDCG@10")
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=8)


def _ndcg(one: Snapshot, stage: str) -> str:
    stages = one.result["stages"]
    return f"{stage_metrics(stages[stage])['ndcg@10']:.3f}" if stage in stages else ""
