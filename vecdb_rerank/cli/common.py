"""Options and output that several commands share."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vecdb_rerank.cli.terminal import SafeConsole, as_json, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vecdb_rerank.config.loading import Loaded
    from vecdb_rerank.flow.steps import Flow
    from vecdb_rerank.search.connector import Connector

T = TypeVar("T")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file. Default: vecdb_rerank.toml in this folder."
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option("--backend", "-b", help="Database: qdrant or opensearch. Sets backend.type."),
]
CollectionOption = Annotated[
    str | None,
    typer.Option("--collection", help="Collection or index. Sets backend.collection."),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        help="Language of the documents, such as german, for BM25. Sets backend.language.",
    ),
]
TextFieldsOption = Annotated[
    str | None,
    typer.Option(
        "--text-fields",
        metavar="NAMES",
        help="Fields that hold the text, such as title,body. Sets text_fields.fields.",
    ),
]
DatasetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Folder with corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)."
    ),
]
QueriesOption = Annotated[
    int | None, typer.Option("--queries", help="Number of queries to sample. Default: all.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Random seed of the sample.")]
JsonFileOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON; - prints it."),
]

LINE_SECONDS = 5.0  # between two lines of progress in a pipe or a file
out = SafeConsole(sys.stdout)
err = SafeConsole(sys.stderr, stderr=True)


def add_command(app: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Add a command; its help begins with the example that ends its docstring."""
    summary, *rest, example = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join((example, summary, *rest))
    app.command(name, short_help=summary, help=text)(command)


def settings(
    config: Path | None,
    backend: str | None = None,
    collection: str | None = None,
    *,
    language: str | None = None,
    text_fields: str | None = None,
) -> Loaded:
    """Return the effective settings of a command."""
    from vecdb_rerank.config.loading import load

    given = {"type": backend, "collection": collection, "language": language}
    chosen: dict[str, object] = {}
    if options := {key: value for key, value in given.items() if value is not None}:
        chosen["backend"] = options
    if text_fields is not None:  # instead of the template, if the file has one
        chosen["text_fields"] = {"fields": names(text_fields), "template": None}
    return load(config, **chosen)


def names(given: str) -> list[str]:
    """Return the names in an option that lists them, separated by commas."""
    return [name.strip() for name in given.split(",") if name.strip()]


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress bars on standard error during the block; see `Bars` for other outputs."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    what, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
    columns = (what, BarColumn(), MofNCompleteColumn(), rate, Remaining())
    # If disabled elsewhere, it leaves no empty line there.
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        yield shown


class Bars:
    """A progress callback that gives each kind of work its own bar, with its rate and time left.

    If standard error is not a terminal, it prints a line every `LINE_SECONDS` instead.
    """

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}
        self._starts: dict[str, tuple[float, int]] = {}
        self._next_line = time.monotonic() + LINE_SECONDS

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Set the bar of ``what`` to ``done`` of ``total``, which may be an estimate."""
        now = time.monotonic()
        started, before = self._starts.setdefault(what, (now, done))
        rate = (done - before) / (now - started) if done > before and now > started else None
        if total is not None:
            total = max(done, total)
        if self._shown.disable:
            self._line(what, done, total, rate)
            return
        shown = "" if rate is None else _per_second(rate)
        if what not in self._tasks:
            self._tasks[what] = self._shown.add_task(printable(what), total=total, rate=shown)
        self._shown.update(self._tasks[what], completed=done, total=total, rate=shown)

    def _line(self, what: str, done: int, total: int | None, rate: float | None) -> None:
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + LINE_SECONDS
        of = "" if total is None else f" of {total:,}"
        pace = "" if rate is None else f", {_per_second(rate)}"
        if rate is not None and total is not None:
            left = timedelta(seconds=round((total - done) / rate))
            pace += f", {left} left"
        err.print_line(f"{what}: {done:,}{of}{pace}")


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def run_on(connector: Connector[Any], flow: Flow[T]) -> T:
    """Run a flow of the connector's store, with its client's errors as `DatabaseError`."""
    from vecdb_rerank.errors import DatabaseError, VecdbRerankError
    from vecdb_rerank.flow.drivers import run

    try:
        return run(flow)
    except VecdbRerankError:
        raise
    except Exception as error:
        raise DatabaseError(connector.store.describe_error(error)) from error


def require_writable(file: Path, option: str) -> None:
    """Raise `ConfigurationError` if ``file`` cannot be written, before any work is done."""
    from vecdb_rerank.errors import ConfigurationError

    existed = file.exists()
    try:
        file.open("a").close()
    except OSError as error:
        raise ConfigurationError(option, f"{file}: {error.strerror}") from None
    if not existed:
        file.unlink()


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which replaces ``file`` if the block succeeds.

    Nobody finds a file that is half written. What is not a plain file, such as ``/dev/stdout``, is
    written directly.
    """
    if file.exists() and not file.is_file():
        yield file
        return
    target = file.resolve()  # a link stays one
    part = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write ``text`` to ``file``, completely or not at all."""
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(value: object, file: str = "-") -> None:
    """Write ``value`` as JSON to ``file``, or print it for ``-``."""
    if file == "-":
        typer.echo(as_json(value))
    else:
        write_text(Path(file), f"{as_json(value)}\n")


def documents(count: int) -> str:
    """Return a number of documents as text."""
    return "1 document" if count == 1 else f"{count:,} documents"


def say_written(*files: Path | str | None) -> None:
    """Say on standard error which files were written; None and ``-`` are none."""
    for file in files:
        if file is not None and file != "-":
            err.print_line(f"{file} is written")


def megabytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / 1e6:,.1f} MB"


def snippet(text: str, width: int = 80) -> str:
    """Return the beginning of ``text`` on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
