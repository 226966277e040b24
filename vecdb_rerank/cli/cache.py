"""``vecdb-rerank cache``: empty the cache folder."""

from __future__ import annotations

import typer

from vecdb_rerank.cli import common

app = typer.Typer(
    help="Empty the cache folder, which `vecdb-rerank config` shows.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Empty the cache folder, which `vecdb-rerank config` shows.

    Example: vecdb-rerank cache clear
    """


@app.command()
def clear() -> None:
    """Remove cached vectors, scores and converted models from the cache folder.

    They are computed again when they are needed. Your collections, embedded
    or not, and the Hugging Face hub's own cache stay as they are.

    Example: vecdb-rerank cache clear
    """
    from vecdb_rerank import cache_folder

    size = cache_folder.size()
    cache_folder.clear()
    common.out.print_line(f"{common.megabytes(size)} removed from {cache_folder.cache_path()}")
