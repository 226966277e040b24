"""``vecdb-rerank history``: compare evaluations over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vecdb_rerank.cli import common


def command(
    snapshots: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files that evaluate --json wrote.")
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a self-contained HTML page.")
    ] = None,
) -> None:
    """Compare snapshots of evaluate --json over time, with charts in one HTML page.

    Snapshots are ordered by their time, apart for each collection. Each is
    compared with the one before on the queries that both have, and the
    settings that changed are listed on the page.

    Example: vecdb-rerank history runs/*.json --html history.html
    """
    from vecdb_rerank.evaluation.gate import load
    from vecdb_rerank.evaluation.history import Snapshot, histories
    from vecdb_rerank.evaluation.report.history import history_table, page

    if html is not None:
        common.require_writable(html, "--html")
    found = histories([Snapshot(file.stem, load(file)) for file in snapshots])
    if html is not None:
        common.write_text(html, page(found))
        common.say_written(html)
    for dataset, rows in found.items():
        common.out.print(history_table(dataset, rows))
