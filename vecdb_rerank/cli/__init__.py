"""The command line. Commands are one file each; errors of ours end in one line."""

from __future__ import annotations

import logging
import sys

import typer

from vecdb_rerank.cli import (
    bench,
    calibrate,
    config,
    demo,
    doctor,
    evaluate,
    index,
    scan,
    search,
    structure,
    tune,
)
from vecdb_rerank.errors import VecdbRerankError

app = typer.Typer(
    help="Hybrid search with a reranker, over Qdrant or OpenSearch.",
    epilog="Start with `vecdb-rerank demo`: no server, no configuration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (
    demo,
    index,
    search,
    evaluate,
    tune,
    calibrate,
    structure,
    scan,
    bench,
    doctor,
    config,
):
    app.command()(module.command)
    app.registered_commands[-1].name = module.__name__.rpartition(".")[2]


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


def main() -> None:
    """Entry point of the ``vecdb-rerank`` command."""
    # What a client library warns of, with a traceback, is what our error says in one line.
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)
    logging.getLogger("vecdb_rerank").setLevel(logging.WARNING)
    try:
        app()
    except VecdbRerankError as error:
        typer.secho(f"error: {' '.join(str(error).split())}", err=True, fg="red")
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output went away: `| head`
        sys.stderr.close()
        sys.exit(1)
