"""``vecdb-rerank demo``: search real documents without a server or a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("q001", "q002", "q003")
SIDES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("dense", {"mode": "dense", "rerank": False}),
    ("hybrid", {"mode": "hybrid", "rerank": False}),
    ("hybrid + rerank", {"mode": "hybrid"}),
)


def command(
    question: Annotated[
        list[str] | None, typer.Argument(help="Your own questions about the standard library.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Index and measure again instead of using the cache.")
    ] = False,
) -> None:
    """Search the docstrings of Python's standard library: dense, hybrid, and reranked.

    Everything runs in this process: an embedded Qdrant and the bundled models.
    The first run indexes and measures; the user's cache folder keeps both for
    the next one.

    Example: vecdb-rerank demo "read a file line by line"
    """
    from vecdb_rerank.demo.questions import questions
    from vecdb_rerank.demo.session import open_demo, remove_demos
    from vecdb_rerank.evaluation.report import tables

    if rebuild:
        remove_demos()
    judged = {q.text: q for q in questions()}
    with common.progress() as shown:
        demo = open_demo(common.Bars(shown))
    try:
        for text in question or [q.text for q in judged.values() if q.id in SHOWN]:
            relevant = set(judged[text].relevant) if text in judged else set()
            common.out.print(_side_by_side(demo.connector, text, relevant))
        if not question:
            with common.progress() as shown:
                result = demo.measured(common.Bars(shown))
            common.out.print(tables.table(result))
            common.out.print_line(
                f"Measured on {len(judged)} judged questions on this machine, and kept in "
                f"{demo.folder}; --rebuild measures again.\n"
                'Next: vecdb-rerank demo "your own question", or vecdb-rerank index --help'
            )
    finally:
        demo.connector.close()


def _side_by_side(connector: Any, text: str, relevant: set[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=f"“{escape(text)}”", caption="✓ judged relevant" if relevant else None)
    columns = []
    for name, options in SIDES:
        shown.add_column(name, ratio=1, overflow="fold")
        response = connector.search(text, limit=5, **options)
        columns.append([str(c.doc_id) for c in connector.candidates(response)])
    for row in zip(*columns, strict=False):
        shown.add_row(*(f"[green]{escape(i)} ✓[/]" if i in relevant else escape(i) for i in row))
    return shown
