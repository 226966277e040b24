"""``vecdb-rerank structure``: compare the forms in which a reranker reads documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.evaluation.structure import Comparison, Row

CAPTION = (
    "change: of NDCG@10 from plain text, with its 95 % interval; "
    "truncated: documents read in part, if the reranker reports it; "
    "differs: mean difference of a document's relevance from plain text, as a share of the larger"
)


def command(
    folder: common.DatasetArgument,
    config: common.ConfigOption = None,
    k: Annotated[
        int,
        typer.Option(
            "--k", help="Number of documents to rerank per query; at most half are relevant."
        ),
    ] = 50,
    queries: common.QueriesOption = None,
    seed: common.SeedOption = 0,
) -> None:
    """Measure how well the reranker reads the same documents as plain text, YAML and JSON.

    Every field of a document except "_id" is written in four ways: values only,
    lines of key: value, YAML, and compact JSON. A text that is itself a JSON
    object counts as that object.

    The configured reranker scores the same documents in each form: the relevant
    ones, and hits of BM25 up to k. No database is needed. The reranker is
    called four times per query; start with few queries if it charges for them.

    Example: VECDB_RERANK__RERANKER__TYPE=cohere vecdb-rerank structure DIR
    --queries 30
    """
    from vecdb_rerank.evaluation import datasets
    from vecdb_rerank.evaluation.structure import compare, conclusion

    dataset = datasets.load(folder).sample(queries, seed)
    settings = common.settings(config).settings
    with common.progress() as shown:
        compared = compare(settings, dataset, k=k, on_progress=common.Bars(shown))
    common.out.print(_table(compared))
    for line in (_effort(compared), conclusion(compared)):
        common.out.print_line(line)


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
        shown.add_row(*map(escape, _cells(row)))
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
