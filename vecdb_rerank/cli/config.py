"""``vecdb-rerank config``: the effective settings and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from vecdb_rerank.cli import common


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
) -> None:
    """Show every setting, its value and its origin; secrets stay hidden.

    Precedence: arguments, then VECDB_RERANK__SECTION__KEY in the environment, then the file.
    """
    from rich.markup import escape
    from rich.table import Table

    from vecdb_rerank.secrets import concealed

    loaded = common.settings(config, backend, collection)
    shown = Table("setting", "value", "from")
    unused = {"reranker" if loaded.settings.rerankers else "rerankers"}
    for path, value in _leaves(loaded.settings.model_dump(exclude=unused)):
        origin = loaded.origin(*path)
        style = "dim" if origin == "default" else ""
        cells = (".".join(path), _shown(concealed(path[-1], value)), origin)
        shown.add_row(*map(escape, cells), style=style)
    common.out.print(shown)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if path == ("rerankers",):
        value = {str(n): section for n, section in enumerate(value)}
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        if not callable(inner) and key != "on_outcome":
            yield from _leaves(inner, (*path, key))


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)  # a secret's str() is stars
