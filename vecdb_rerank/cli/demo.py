"""``vecdb-rerank demo``: search a handbook and measure it, without a server or a network."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common, picture

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vecdb_rerank.demo.handbook import Question
    from vecdb_rerank.demo.session import Answer
    from vecdb_rerank.evaluation.connector import EvaluatedConnector

# Questions that are not held out, each with what kind of question it is.
SHOWN = {
    "b032": "A paraphrase",
    "a059": "An exact name",
    "b046": "A negation",
    "a049": "Another negation",
}
HITS = 3
TEXT_CHARS = 110


def command(
    question: Annotated[
        list[str] | None, typer.Argument(help="Your own questions about git, HTTP, SQL, Python …")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Measure all questions that are not held out.")
    ] = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Measure the held-out third, and show nothing else.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the first search as a picture.")
    ] = None,
) -> None:
    """Search a developer's handbook with and without reranking, and measure both.

    Everything runs in this process: an embedded Qdrant in memory and the bundled
    models. The first searches show where reranking moves the answer; the table
    measures as many judged questions as half a minute allows.

    Example: vecdb-rerank demo "converted dates all land in january 1970"
    """
    common.out.print_line(
        "A developer's handbook, an embedded Qdrant and the bundled models: "
        "no server, no key, no network."
    )
    if question and (everything or held_out or svg):
        raise typer.BadParameter("--all, --held-out and --svg take no questions of your own")
    if svg is not None:
        common.require_writable(svg, "--svg")
    from vecdb_rerank.demo import handbook, session

    with session.opened() as connector:
        if held_out:
            _measure(connector, handbook.answered(held_out=True))
        elif question:
            for text in question:
                own = handbook.Question("", text, "vague", {}, held_out=False)
                _show(session.ask(connector, own))
        else:
            _tour(connector, everything, svg)


def _tour(connector: EvaluatedConnector, everything: bool, svg: Path | None) -> None:
    from vecdb_rerank.demo import handbook, measure, session

    common.out.print_line("✓ answers the question, · helps: judged by reading, before any search.")
    known = {question.id: question for question in handbook.questions()}
    times = []
    for number, (identifier, kind) in enumerate(SHOWN.items(), start=1):
        answer = session.ask(connector, known[identifier])
        times.append(answer.milliseconds)
        _show(answer, f"{number}. {kind}")
        if svg is not None and number == 1:
            picture.draw(_lines(answer, kind), "vecdb-rerank demo", svg)
            common.say_written(svg)
    judged = handbook.answered(held_out=False)
    chosen = judged if everything else measure.sample(judged, statistics.median(times))
    _measure(connector, chosen)
    program = _program()
    if len(chosen) < len(judged):
        common.out.print_line(f"{len(judged) - len(chosen)} more questions: {program} demo --all")
    common.out.print_line(
        f"\nYour own file:      {program} index FILE && {program} search QUERY\n"
        f"Your own database:  {program} adopt --url URL"
    )


def _show(answer: Answer, title: str = "") -> None:
    common.out.print()
    common.out.print(*_lines(answer, title), sep="\n")


def _lines(answer: Answer, title: str) -> list[RenderableType]:
    from rich.markup import escape

    lines: list[RenderableType] = [f"[bold]“{escape(answer.question.text)}”[/]"]
    if title:
        lines.insert(0, f"{title}: {_what_happened(answer)}")
        lines.append(_where(answer))
    return [*lines, _table(answer)]


def _what_happened(answer: Answer) -> str:
    bm25, before, after = (answer.first_answer[stage] for stage in ("bm25", "hybrid", "reranked"))
    if before is None or after is None:
        return "[yellow]the answer is not among the candidates[/]"
    if answer.question.kind == "exact" and bm25 == after == 1:
        return "[green]BM25 is right, and its hit stays first[/]"
    if after < before:
        return "[green]reranking wins[/]"
    if after > before:
        return "[red]reranking loses[/]"
    return "the order was right, and stays" if after == 1 else "reranking changes nothing"


def _where(answer: Answer) -> str:
    ranks = {stage: "-" if n is None else str(n) for stage, n in answer.first_answer.items()}
    return (
        f"Rank of the first answer: BM25 {ranks['bm25']}, dense {ranks['dense']}, "
        f"hybrid {ranks['hybrid']} → reranked [bold]{ranks['reranked']}[/]"
    )


def _table(answer: Answer) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("rank", "was", ""):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("passage")
    judged = bool(answer.question.relevant)
    for hit in answer.hits[: HITS if judged else 5]:
        mark = {2: "[green]✓[/]", 1: "[green]·[/]"}.get(hit.grade, "")
        title, text = hit.passage.title, common.snippet(hit.passage.text, TEXT_CHARS)
        cell = f"[bold]{escape(title)}[/]: {escape(text)}"
        shown.add_row(str(hit.rank), str(hit.was), mark, cell)
    return shown


def _measure(connector: EvaluatedConnector, questions: Sequence[Question]) -> None:
    from vecdb_rerank.demo import measure, session
    from vecdb_rerank.evaluation.report import tables
    from vecdb_rerank.evaluation.verdict import verdict

    common.out.print_line(
        f"\nMeasuring {len(questions)} judged questions; reranking up to {session.K} passages for "
        "each takes most of the time …"
    )
    with common.progress() as shown:
        measured = measure.measure(connector, questions, common.Bars(shown))
    common.out.print(tables.yardstick_table(measured))
    common.out.print_line(verdict(measured)["text"])


def _program() -> str:
    """Return how to call this command here: a virtual environment need not be on the path."""
    name = "vecdb-rerank"
    return name if shutil.which(name) else os.path.relpath(sys.argv[0])
