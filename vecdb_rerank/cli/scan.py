"""``vecdb-rerank scan``: report what the drop-in clients would change in a code base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.scan import Report, Verdict

WORDS: Mapping[Verdict, tuple[str, str]] = {
    "reranked": ("reranked", "green"),
    "passed_through": ("passed through", "dim"),
    "refused": ("refused", "red"),
    "unclear": ("unclear", "yellow"),
}


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder, or one Python file.")],
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Skip matching paths, such as 'tests' or '*_pb2.py'. Can be repeated.",
        ),
    ] = None,
    on_missing_query: Annotated[
        str, typer.Option(help="The drop-in clients' option of this name: pass or raise.")
    ] = "pass",
    json_file: common.JsonFileOption = None,
) -> None:
    """List each Qdrant and OpenSearch search call, and what a drop-in client does with it.

    "reranked" calls get their hits reordered. "passed through" calls stay as
    they are, for the reason given. "refused" calls raise an error. For
    "unclear" ones the request is only known at run time.

    The code is read, never run. Clients are followed from their construction or
    annotation through names, attributes, functions and imports. Hidden folders
    and virtual environments are skipped.

    Example: vecdb-rerank scan src --exclude tests
    """
    from vecdb_rerank.scan import scan

    if json_file not in (None, "-"):
        common.require_writable(Path(json_file), "--json")
    with common.progress() as shown:
        bars = common.Bars(shown)
        report = scan(
            source,
            exclude=exclude or (),
            on_missing_query=on_missing_query,  # type: ignore[arg-type]  # scan checks it
            on_progress=lambda n: bars("reading", n, None),
        )
    for file, why in report.unreadable.items():
        common.err.print_line(f"{file}: {why}", style="yellow")
    if json_file is not None:
        common.write_json({**asdict(report), "counts": dict(report.counts)}, json_file)
        common.say_written(json_file)
    if json_file == "-":
        return
    for line in _lines(report):
        common.out.print(line, highlight=False, soft_wrap=True)
    common.out.print_line(_summary(report))


def _lines(report: Report) -> Iterator[str]:
    """Yield a line per call in the form of linters: editors follow ``file:line``."""
    from rich.markup import escape

    for call in report.calls:
        word, style = WORDS[call.verdict]
        place = f"[bold]{escape(call.file)}:{call.line}[/]"
        yield f"{place} {escape(call.method)} [{style}]{word}[/]: {escape(call.reason)}"


def _summary(report: Report) -> str:
    counts = (f"{report.counts[verdict]} {word}" for verdict, (word, _) in WORDS.items())
    return (
        f"Files: {report.files} read, {len(report.unreadable)} unreadable. "
        f"Searches: {len(report.calls)}, {', '.join(counts)}. "
        f"Other calls of the clients: {report.others}, unchanged."
    )
