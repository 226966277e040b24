"""``vecdb-rerank structure``: in what form a reranker reads documents best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.evaluation.structure import Comparison, Row

CAPTION = (
    "change: of NDCG@10 against plain text, with its 95 % interval; "
    "truncated: documents read in part, as far as the reranker tells; "
    "differs: a document's relevance from that as plain text, as a share of the larger, on average"
)


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)."
        ),
    ],
    config: common.ConfigOption = None,
    k: Annotated[
        int, typer.Option("--k", help="Documents to rerank for a query, at most half relevant.")
    ] = 50,
    queries: Annotated[int | None, typer.Option(help="Only so many sampled queries.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
) -> None:
    """Measure how well the reranker reads the same documents as plain text, YAML and JSON.

    Every field of a document but "_id" is written in four ways: its values
    alone, lines of key: value, YAML, and compact JSON. A text that is itself
    a JSON object counts as that object.

    The configured reranker scores the same documents in each: those relevant
    to the query, filled up with hits of BM25. It needs no database.

    A reranker that costs money is called four times for each query; begin
    with a few of them:

    VECDB_RERANK__RERANKER__TYPE=cohere vecdb-rerank structure DIR --queries 30
    """
    from vecdb_rerank.evaluation import datasets
    from vecdb_rerank.evaluation.structure import compare, conclusion

    dataset = datasets.load(folder).sample(queries, seed)
    settings = common.settings(config).settings
    with common.progress() as shown:
        compared = compare(settings, dataset, k=k, on_progress=common.Bars(shown))
    common.out.print(_table(compared))
    for line in (_effort(compared), conclusion(compared)):
        common.out.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(compared: Comparison) -> Table:
    from rich.markup import escape
    from rich.table import Table

    title = (
        f"{compared.dataset}: {compared.documents:,} documents, {compared.queries:,} queries, "
        f"k={compared.k}"
    )
    shown = Table(title=escape(title), caption=CAPTION)
    shown.add_column("rendering")
    for name in ("NDCG@10", "change [95 %]", "chars", "truncated", "differs"):
        shown.add_column(name, justify="right")
    for row in compared.rows:
        shown.add_row(*_cells(row))
    return shown


def _cells(row: Row) -> tuple[str, ...]:
    from vecdb_rerank.evaluation.renderings import PLAIN

    low, high = row.interval
    change = f"{row.change:+.3f} [{low:+.3f}, {high:+.3f}]"
    compared = (change, f"{row.difference:.0%}") if row.rendering != PLAIN else ("", "")
    lengths = (f"{row.characters:,.0f}", f"{row.truncated:,}")
    return (row.rendering, f"{row.ndcg:.3f}", compared[0], *lengths, compared[1])


def _effort(compared: Comparison) -> str:
    calls = f"{compared.calls:,} calls with {compared.scored:,} documents"
    billed = f", {compared.billed:,g} units billed" if compared.billed else ""
    return f"{compared.reranker}: {calls}{billed}"
