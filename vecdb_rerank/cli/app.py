"""The typer application: all commands, and how errors end them."""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from vecdb_rerank.cli import (
    adopt,
    bench,
    cache,
    calibrate,
    common,
    config,
    demo,
    doctor,
    evaluate,
    history,
    index,
    judgments,
    mcp,
    scan,
    search,
    serve,
    structure,
    tune,
)
from vecdb_rerank.cli.terminal import SafeFormatter
from vecdb_rerank.errors import VecdbRerankError


class _Commands(TyperGroup):
    """The commands; Ctrl-C ends each of them with one line and exit code 130."""

    def invoke(self, ctx: Any) -> Any:  # of click, or of typer's own copy of it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            common.err.print_line(": ".join(["interrupted", *map(str, stopped.args)]))
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    help="Example: vecdb-rerank demo (needs no server and no configuration)\n\n"
    "Search Qdrant or OpenSearch with a hybrid first pass and a reranker.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (
    demo,
    adopt,
    index,
    search,
    serve,
    mcp,
    evaluate,
    history,
    tune,
    calibrate,
    structure,
    scan,
    bench,
    doctor,
    config,
):
    common.add_command(app, module.__name__.rpartition(".")[2], module.command)
app.add_typer(judgments.app, name="judgments")
app.add_typer(cache.app, name="cache")


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from vecdb_rerank import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> None:
    """Run the command; an error of this package ends it with one line and exit code 1."""
    # Client libraries log warnings with a traceback; the error that follows repeats them.
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.ERROR)
    logging.getLogger("vecdb_rerank").setLevel(logging.WARNING)
    try:
        app()
    except VecdbRerankError as error:
        common.err.print_line(f"error: {' '.join(str(error).split())}", style="red")
        sys.exit(1)
    except BrokenPipeError:  # the reader of the output has exited, as in `| head`
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a full disk, or a folder that may not be written to
        common.err.print_line(f"error: {error}", style="red")
        sys.exit(1)
