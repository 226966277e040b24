"""An evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vecdb_rerank import __version__
from vecdb_rerank.evaluation.report import charts, tables

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { display: block; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tr.strong { font-weight: 600; } .scroll { overflow-x: auto; }
details { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem; }
details + details { margin-top: .5rem; }
summary { cursor: pointer; } dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 0 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.note { opacity: .75; }
"""


def evaluation(result: Mapping[str, Any]) -> str:
    """The page of a result of `evaluate`; every text in it is escaped."""
    found = result["details"]
    drawn = (f"<figure>{charts.svg(draw, result)}</figure>" for draw in charts.EVALUATION.values())
    parts = [
        f"<h1>{escape(result['dataset'])}</h1>",
        f'<p class="note">{escape(tables.title(result))}; reranker '
        f"{escape(result['reranker'] or 'none')}; vecdb-rerank {__version__}</p>",
        f'<div class="charts">{"".join(drawn)}</div>',
        "<h2>Quality and latency</h2>",
        _stages(result["stages"]),
        *(f"<p>{escape(line)}</p>" for line in tables.sentences(result)),
        f"<h2>{tables.MORE}</h2>",
        _more(found["retrieve_more"]),
        f"<h2>Worst queries ({escape(found['mode'])})</h2>",
        *map(_query, found["worst"]),
    ]
    return document(f"{result['dataset']}: search quality", parts)


def document(title: str, parts: Iterable[str]) -> str:
    """An HTML document of ready parts."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]]) -> str:
    """A table of texts; a row is its cells and whether it is set off."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(map(_row, rows))
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _row(row: tuple[Sequence[str], bool]) -> str:
    cells, strong = row
    inside = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="strong">{inside}</tr>' if strong else f"<tr>{inside}</tr>"


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> str:
    names = [name for name in next(iter(stages.values())) if name != "latency_ms"]
    rows = []
    for stage, values in stages.items():
        latency = values["latency_ms"]
        times = [f"{latency[p]:.0f}" if latency else "cached" for p in ("p50", "p95")]
        cells = [stage, *(f"{values[name]:.3f}" for name in names), *times]
        rows.append((cells, stage.endswith("+rerank")))
    return table(["stage", *(name.upper() for name in names), "p50 ms", "p95 ms"], rows)


def _more(rows: Sequence[Mapping[str, Any]]) -> str:
    return table(
        tables.MORE_COLUMNS,
        ((tables.more_cells(row), row["hits"].startswith("reranked")) for row in rows),
    )


def _query(query: Mapping[str, Any]) -> str:
    change = query["reranked"] - query["first_pass"]
    entries = [
        (f"best hit of the {name}", _hit(query["top"][key]))
        for key, name in (("first_pass", "first pass"), ("reranked", "reranked order"))
    ]
    entries += [(_where(document), document["text"]) for document in query["relevant"]]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return (
        f"<details><summary>{escape(query['query'])} "
        f'<span class="note">NDCG@10 {query["first_pass"]:.3f} → {query["reranked"]:.3f} '
        f"({change:+.3f})</span></summary><dl>{listed}</dl></details>"
    )


def _hit(hit: Mapping[str, str] | None) -> str:
    return "none" if hit is None else f"{hit['id']}: {hit['text']}"


def _where(document: Mapping[str, Any]) -> str:
    first, last = (
        "not found" if rank is None else f"rank {rank}"
        for rank in (document["first_pass_rank"], document["rank"])
    )
    relevance = "" if document["relevance"] is None else f", relevance {document['relevance']:.3f}"
    return f"relevant (grade {document['grade']}) {document['id']}: {first} → {last}{relevance}"
