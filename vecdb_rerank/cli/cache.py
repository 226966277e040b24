"""``vecdb-rerank cache``: empty the cache folder."""

from __future__ import annotations

import typer

from vecdb_rerank.cli import common

app = typer.Typer(
    help="Example: vecdb-rerank cache clear\n\n"
    "Empty the cache folder, which `vecdb-rerank config` shows.",
    short_help="Empty the cache folder, which `vecdb-rerank config` shows.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    pass


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


common.add_command(app, "clear", clear)
