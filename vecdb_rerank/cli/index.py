"""``vecdb-rerank index``: fill a collection from JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Failure

SHOWN = 20  # documents that were not stored, of which each gets a line


def command(
    file: Annotated[Path, typer.Argument(help="JSON lines file, or - for standard input.")],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    batch_size: Annotated[int, typer.Option(help="Documents per request.")] = 64,
) -> None:
    """Add documents from JSON lines, and create the collection if it is missing.

    Each line is an object. Its id is the value of "_id" or "id", or else a hash
    of its content: indexing the same file again changes nothing. The setting
    text_fields.fields names the fields that hold the text; the default is
    "title" and "text". If the database is unavailable, the command
    retries for two minutes.

    Example: vecdb-rerank index documents.jsonl --collection notes
    """
    from vecdb_rerank.config import factory

    bad_lines: list[Failure] = []
    with closing(factory.build(common.settings(config, backend, collection).settings)) as connector:
        with _opened(file) as lines, common.progress() as shown:
            total = _count_lines(file)
            bars = common.Bars(shown)
            created = connector.create()
            report = connector.add(
                _documents(lines, str(file), bad_lines),
                batch_size=batch_size,
                on_progress=lambda done: bars("indexing", done, total),
            )
        paths = ", ".join(connector.pipeline.text_fields.paths)
    where = "a new collection" if created else "an existing collection"
    common.err.print_line(f"{report.added:,} documents added to {where} in {report.seconds:.1f} s")
    if report.without_text:
        common.err.print_line(
            f"{report.without_text:,} of them have no text in {paths}: name the fields that hold "
            "the text in text_fields.fields and index them again",
            style="yellow",
        )
    if report.retries:
        common.err.print_line(f"{report.retries} requests were repeated")
    failed = [*bad_lines, *report.failed]
    for failure in failed[:SHOWN]:
        common.err.print_line(f"not stored: {failure.id}: {failure.reason}", style="red")
    if failed:
        common.err.print_line(f"{len(failed):,} documents were not stored", style="red")
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


def _documents(lines: IO[bytes], name: str, bad_lines: list[Failure]) -> Iterator[dict[str, Any]]:
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation.datasets import parse_line
    from vecdb_rerank.ingest.model import Failure

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield parse_line(line, f"{name}:{number}")
        except ConfigurationError as error:  # reported at the end; the other lines are stored
            bad_lines.append(Failure(f"line {number}", str(error)))
