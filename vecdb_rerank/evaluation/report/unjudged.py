"""Show how two orders of the same queries differ, without judgments."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from vecdb_rerank.evaluation.report.html import document, table
from vecdb_rerank.evaluation.result import MovedHit
from vecdb_rerank.evaluation.unjudged import ChangedQuery, UnjudgedResult

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("orders", "overlap@10", "RBO", "same first hit", "p50 ms")
SHOWN_QUERIES = 10


def cells(result: UnjudgedResult) -> Iterator[list[str]]:
    """Yield a row for each pair of orders, in the order of `COLUMNS`."""
    for arm in result["arms"]:
        times = (result["latency_ms"][name] for name in (arm["one"], arm["other"]))
        yield [
            f"{arm['one']} → {arm['other']}",
            f"{arm['overlap']:.0%}",
            f"{arm['rbo']:.3f}",
            f"{arm['same_first']:.0%}",
            " → ".join(f"{time['p50']:.0f}" for time in times),
        ]


def summary_table(result: UnjudgedResult) -> Table:
    """Return the pairs of orders as a table."""
    from rich.markup import escape as markup
    from rich.table import Table

    shown = Table(title=markup(_title(result)))
    for name in COLUMNS:
        shown.add_column(name)
    for row in cells(result):
        shown.add_row(*map(markup, row))
    return shown


def lines(result: UnjudgedResult, count: int = SHOWN_QUERIES) -> Iterator[str]:
    """Yield the most changed queries with the hits that moved, as lines of text."""
    for arm in result["arms"]:
        for query in arm["queries"][:count]:
            yield _summary(query)
            for hit in query["moved"]:
                yield f"    {_move(hit)}: {' '.join(hit['text'].split())[:80]}"


def page(result: UnjudgedResult) -> str:
    """Return an HTML page with every query, most changed first; all text is escaped."""
    parts = [
        f"<h1>{escape(result['dataset'])}</h1>",
        f'<p class="note">{escape(_title(result))}. Without judgments, this shows what changes, '
        "not whether it is better.</p>",
        table(COLUMNS, cells(result)),
        "<h2>Most changed queries</h2>",
        *(_query(query) for arm in result["arms"] for query in arm["queries"]),
    ]
    return document(f"{result['dataset']}: what reranking changes", parts)


def _query(query: ChangedQuery) -> str:
    moved = "".join(
        f"<dt>{escape(_move(hit))}</dt><dd>{escape(hit['text'])}</dd>" for hit in query["moved"]
    )
    return f"<details><summary>{escape(_summary(query))}</summary><dl>{moved}</dl></details>"


def _summary(query: ChangedQuery) -> str:
    return f"{query['query']} (overlap {query['overlap']:.0%}, RBO {query['rbo']:.3f})"


def _move(hit: MovedHit) -> str:
    first, last = (
        "not found" if rank is None else f"rank {rank}"
        for rank in (hit["first_pass_rank"], hit["rank"])
    )
    return f"{hit['id']}: {first} → {last}"


def _title(result: UnjudgedResult) -> str:
    queries = len(result["arms"][0]["queries"])
    return f"{result['dataset']}: {queries:,} queries, k={result['k']}, {result['backend']}"
