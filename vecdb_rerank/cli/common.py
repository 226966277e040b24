"""Options and output that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

    from vecdb_rerank.config.loading import Loaded

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file; default: vecdb_rerank.toml in this folder."
    ),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", "-b", help="Overrides backend.type: qdrant, opensearch.")
]
CollectionOption = Annotated[
    str | None, typer.Option("--collection", help="Overrides backend.collection.")
]

# Columns where there is no terminal, so that a table in a pipe or a file has its values whole.
UNBOUNDED = 10_000


def _console(stream: TextIO | None, **options: Any) -> Console:
    """A console as wide as its terminal, or as ``COLUMNS`` says; without either it cuts nothing."""
    bounded = (stream is not None and stream.isatty()) or "COLUMNS" in os.environ
    return Console(width=None if bounded else UNBOUNDED, **options)


out = _console(sys.stdout)
err = _console(sys.stderr, stderr=True)


def settings(
    config: Path | None, backend: str | None = None, collection: str | None = None
) -> Loaded:
    """The effective settings of a command."""
    from vecdb_rerank.config.loading import load

    given = {"type": backend, "collection": collection}
    chosen = {key: value for key, value in given.items() if value is not None}
    arguments: dict[str, Any] = {"backend": chosen} if chosen else {}
    return load(config, **arguments)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on standard error, gone when done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    # Elsewhere than on a terminal, it would leave an empty line.
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        yield shown


class Bars:
    """Progress callbacks that give each kind of work its own bar."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, Any] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of ``what``."""
        if what not in self._tasks:
            self._tasks[what] = self._shown.add_task(what, total=total)
        self._shown.update(self._tasks[what], completed=done)


def require_writable(file: Path, option: str) -> None:
    """An error now rather than after the work; nothing is left behind where there was none."""
    from vecdb_rerank.errors import ConfigurationError

    existed = file.exists()
    try:
        file.open("a").close()
    except OSError as error:
        raise ConfigurationError(option, f"{file}: {error.strerror}") from None
    if not existed:
        file.unlink()


def write_json(value: Any, file: str) -> None:
    """Write ``value`` to ``file``, or print it for ``-``."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    if file == "-":
        typer.echo(text)
    else:
        Path(file).write_text(f"{text}\n", encoding="utf-8")


def snippet(text: str, width: int = 80) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
