"""Show an evaluation as one HTML file without external resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import yaml

from vecdb_rerank.evaluation.effort_curve import EffortRow
from vecdb_rerank.evaluation.report import charts, tables
from vecdb_rerank.evaluation.result import (
    ClassRow,
    EvaluationResult,
    Hit,
    MovedHit,
    QueryReport,
    RelevantDocument,
)

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { display: block; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tr.strong { font-weight: 600; } .scroll { overflow-x: auto; }
details { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem; }
details + details { margin-top: .5rem; }
summary { cursor: pointer; } dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 0 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { font-size: 1.1rem; border-left: .25rem solid #2f7fd6; padding-left: .8rem; }
pre { overflow-x: auto; } .note { opacity: .75; }
"""


def evaluation(result: EvaluationResult) -> str:
    """Return the page of a result; all text is escaped."""
    found, measured = result["details"], result["yardstick"]
    drawn = (f"<figure>{charts.svg(draw, result)}</figure>" for draw in charts.EVALUATION.values())
    stages = ([name, *cells] for name, cells in tables.stage_rows(result))
    hits = (tables.hits_cells(row) for row in found["retrieve_more"])
    parts = [
        f"<h1>{escape(result['dataset'])}</h1>",
        f'<p class="verdict">{escape(result["verdict"]["text"])}</p>',
        f'<p class="note">{escape(tables.title(result))}. '
        f"{escape(tables.environment_line(result))}</p>",
        _settings(result),
        f'<div class="charts">{"".join(drawn)}</div>',
        f"<h2>{escape(tables.yardstick_title(measured))}</h2>",
        table(
            tables.yardstick_columns(measured),
            (tables.yardstick_cells(measured, row) for row in measured["rows"]),
        ),
        f'<p class="note">{escape(tables.yardstick_caption(measured))}</p>',
        "<h2>Quality and latency</h2>",
        table(tables.stage_columns(result), stages),
        *(f"<p>{escape(line)}</p>" for line in tables.sentences(result)),
        f"<h2>{tables.HITS_TITLE}</h2>",
        table(tables.HITS_COLUMNS, hits),
        *_effort(result["effort_curve"]),
        *_by_class(found["by_class"]),
        f"<h2>Best gains and worst losses ({escape(found['mode'])})</h2>",
        '<div class="beside"><div>',
        *map(_query, found["best"]),
        "</div><div>",
        *map(_query, found["worst"]),
        "</div></div>",
    ]
    return document(f"{result['dataset']}: search quality", parts)


def document(title: str, parts: Iterable[str]) -> str:
    """Return an HTML document of parts that are escaped already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the rows of reranked results are bold."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(map(_row, rows))
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _row(cells: Sequence[str]) -> str:
    inside = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="strong">{inside}</tr>' if "rerank" in cells[0] else f"<tr>{inside}</tr>"


def _effort(rows: Sequence[EffortRow]) -> list[str]:
    if not rows:
        return []
    shown = table(tables.EFFORT_COLUMNS, map(tables.effort_cells, rows))
    return [f"<h2>{tables.EFFORT_TITLE}</h2>", shown]


def _by_class(rows: Sequence[ClassRow]) -> list[str]:
    if not rows:
        return []
    return ["<h2>By class</h2>", table(tables.CLASS_COLUMNS, map(tables.class_cells, rows))]


def _settings(result: EvaluationResult) -> str:
    listed = yaml.safe_dump(result["settings"], sort_keys=False, allow_unicode=True)
    return f"<details><summary>settings</summary><pre>{escape(listed)}</pre></details>"


def _query(query: QueryReport) -> str:
    change = query["reranked"] - query["first_pass"]
    entries = [
        ("best hit of the first pass", _hit(query["top"]["first_pass"])),
        ("best hit of the reranked order", _hit(query["top"]["reranked"])),
        *((_move(hit), hit["text"]) for hit in query["moved"]),
        *((_ranks(document), document["text"]) for document in query["relevant"]),
    ]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return (
        f"<details><summary>{escape(query['query'])} "
        f'<span class="note">NDCG@10 {query["first_pass"]:.3f} → {query["reranked"]:.3f} '
        f"({change:+.3f})</span></summary><dl>{listed}</dl></details>"
    )


def _hit(hit: Hit | None) -> str:
    return "none" if hit is None else f"{hit['id']}: {hit['text']}"


def _move(hit: MovedHit) -> str:
    grade = "not judged" if hit["grade"] is None else f"grade {hit['grade']}"
    return f"moved ({grade}) {hit['id']}: {_from_to(hit)}"


def _from_to(document: MovedHit | RelevantDocument) -> str:
    ranks = (document["first_pass_rank"], document["rank"])
    return " → ".join("not found" if rank is None else f"rank {rank}" for rank in ranks)


def _ranks(document: RelevantDocument) -> str:
    relevance = "" if document["relevance"] is None else f", relevance {document['relevance']:.3f}"
    return f"relevant (grade {document['grade']}) {document['id']}: {_from_to(document)}{relevance}"
