"""``vecdb-rerank config``: show the effective settings and their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass

from vecdb_rerank.cli import common


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
) -> None:
    """Show every setting with its value and source, and the cache folder.

    Secrets stay hidden. Arguments override the environment, and the environment overrides the file.
    The variable of the setting "key" of a section is
    VECDB_RERANK__SECTION__KEY.

    Example: VECDB_RERANK__SEARCH__K=100 vecdb-rerank config --backend
    opensearch
    """
    from rich.markup import escape
    from rich.table import Table

    from vecdb_rerank import cache_folder, secrets

    loaded = common.settings(config, backend, collection)
    shown = Table("setting", "value", "source")
    unused = {"reranker" if loaded.settings.rerankers else "rerankers"}
    for path, value in _leaves(loaded.settings.model_dump(exclude=unused)):
        source = loaded.origin(*path)
        style = "dim" if source == "default" else ""
        cells = (".".join(path), _shown(secrets.shown(path[-1], value)), source)
        shown.add_row(*map(escape, cells), style=style)
    common.out.print(shown)
    cached = common.megabytes(cache_folder.size())
    common.out.print_line(
        f"cache: {cache_folder.cache_path()} ({cached}; `vecdb-rerank cache clear` empties it)"
    )


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, tuple) and value and all(isinstance(one, Mapping) for one in value):
        value = {str(n): section for n, section in enumerate(value)}
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        if not callable(inner) and key != "on_outcome":
            yield from _leaves(inner, (*path, key))


def _shown(value: object) -> str:
    return "-" if value is None else str(value)  # a SecretStr's str() is asterisks
