"""``vecdb-rerank scan``: what wrapping the clients of a code base would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.text import Text

    from vecdb_rerank.scan import Report, Verdict

WORDS: Mapping[Verdict, tuple[str, str]] = {
    "reranked": ("reranked", "green"),
    "passed_through": ("passed through", "dim"),
    "refused": ("refused", "red"),
    "unclear": ("unclear", "yellow"),
}


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder, or one Python file.")],
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Leave out what matches, such as 'tests' or '*_pb2.py'."
        ),
    ] = None,
    on_missing_query: Annotated[
        str, typer.Option(help="What the clients will be told: pass, or raise.")
    ] = "pass",
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - prints it.")
    ] = None,
) -> None:
    """List each Qdrant and OpenSearch search call and what a drop-in client makes of it.

    reranked: its hits are reordered. passed through: it stays as it is, for
    the reason given. refused: it raises an error. unclear: the request is
    put together where only a run can tell.

    The code is read, never run. ClientPool are followed from where they are
    made or named in an annotation, through names, attributes, functions and
    imports of the code base. Hidden folders and virtual environments are
    left out.
    """
    from vecdb_rerank.scan import scan

    if json_file not in (None, "-"):
        common.require_writable(Path(json_file), "--json")
    with common.progress() as shown:
        bars = common.Bars(shown)
        report = scan(
            source,
            exclude=exclude or (),
            on_missing_query=on_missing_query,  # type: ignore[arg-type]  # checked there
            on_progress=lambda n: bars("reading", n, None),
        )
    for file, why in report.unreadable.items():
        typer.secho(f"{file}: {why}", err=True, fg="yellow")
    if json_file is not None:
        common.write_json({**asdict(report), "counts": dict(report.counts)}, json_file)
    if json_file == "-":
        return
    for line in (*_lines(report), _summary(report)):
        common.out.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(report: Report) -> Iterator[Text]:
    """A line a call, as linters print theirs: editors follow ``file:line``."""
    from rich.text import Text

    for call in report.calls:
        word, style = WORDS[call.verdict]
        yield Text.assemble(
            (f"{call.file}:{call.line}", "bold"),
            f" {call.method} ",
            (word, style),
            f": {call.reason}",
        )


def _summary(report: Report) -> str:
    counts = (f"{report.counts[verdict]} {word}" for verdict, (word, _) in WORDS.items())
    return (
        f"Files: {report.files} read, {len(report.unreadable)} unreadable. "
        f"Searches: {len(report.calls)}, {', '.join(counts)}. "
        f"Other calls of the clients, which stay as they are: {report.others}."
    )
