"""``vecdb-rerank index``: fill a collection from JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from vecdb_rerank.cli import common


def command(
    file: Annotated[Path, typer.Argument(help="JSON lines, or - for standard input.")],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    batch_size: Annotated[int, typer.Option(help="Documents per request.")] = 64,
) -> None:
    """Add documents from JSON lines, creating the collection if it is missing.

    Each line is an object. Its id is taken from "_id" or "id" (else a hash of the content), so
    running again changes nothing. Which fields are its text: text_fields.fields in the settings,
    by default "title" and "text". A database that goes away is waited for.
    """
    from rich.markup import escape

    from vecdb_rerank.config import factory
    from vecdb_rerank.ingest.model import Failure

    bad_lines: list[Failure] = []
    connector = factory.build(common.settings(config, backend, collection).settings)
    try:
        with _opened(file) as lines, common.progress() as shown:
            total = _count_lines(file)
            bars = common.Bars(shown)
            created = connector.create()
            report = connector.add(
                _documents(lines, str(file), bad_lines),
                batch_size=batch_size,
                on_progress=lambda done: bars("indexing", done, total),
            )
    finally:
        connector.close()
    where = "a new collection" if created else "an existing collection"
    common.err.print(f"{report.added:,} documents added to {where} in {report.seconds:.1f} s")
    if report.without_text:
        names = escape(", ".join(connector.pipeline.text_fields.paths))
        common.err.print(
            f"[yellow]{report.without_text:,} of them have no text[/]: no field {names} in them; "
            "name theirs in text_fields.fields and index them again"
        )
    if report.retries:
        common.err.print(f"{report.retries} requests had to be repeated")
    failed = [*bad_lines, *report.failed]
    for failure in failed[:20]:
        what = escape(f"{failure.id}: {failure.reason}")
        common.err.print(f"[red]not stored[/]: {what}", highlight=False, soft_wrap=True)
    if failed:
        common.err.print(f"[red]{len(failed):,} documents were not stored[/]")
        raise typer.Exit(1)


def _opened(file: Path) -> IO[bytes]:
    from vecdb_rerank.errors import ConfigurationError

    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        raise ConfigurationError(str(file), f"{error.strerror}") from None


def _count_lines(file: Path) -> int | None:
    if str(file) == "-":
        return None
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def _documents(lines: IO[bytes], name: str, bad_lines: list[Any]) -> Iterator[dict[str, Any]]:
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation.datasets import parse_line
    from vecdb_rerank.ingest.model import Failure

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield parse_line(line, f"{name}:{number}")
        except ConfigurationError as error:  # told at the end; the other lines are still wanted
            bad_lines.append(Failure(f"line {number}", str(error)))
