"""Find connectors, rerankers and embedders by name, through entry points.

A package adds one with, for example, ``[project.entry-points."vecdb_rerank.rerankers"]`` and
``mine = "my_package:MyReranker"``; settings then name it by ``type = "mine"``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, Literal

from vecdb_rerank._optional import missing
from vecdb_rerank.errors import ConfigurationError

Kind = Literal["connectors", "rerankers", "embedders"]
_LONGEST = 100  # characters of a name that are compared: it may be a caller's, of any length


def names(kind: Kind) -> list[str]:
    """Return the names of everything installed of a kind."""
    return sorted({point.name for point in entry_points(group=f"vecdb_rerank.{kind}")})


def find(kind: Kind, name: str) -> Any:
    """Return the factory of this name; `ConfigurationError` suggests the nearest one."""
    for point in entry_points(group=f"vecdb_rerank.{kind}", name=name):
        try:
            return point.load()
        except ModuleNotFoundError as error:
            if (known := missing(error, name)) is None:
                raise
            raise known from error
    raise ConfigurationError("type", unknown(kind, name))


def unknown(kind: Kind, name: str) -> str:
    """Return what is wrong with a name under which nothing is installed."""
    allowed = names(kind) if kind == "connectors" else [*names(kind), "none"]
    return f"{name!r} is not an installed {kind.removesuffix('s')}; {nearest(name, allowed)}"


def nearest(name: str, allowed: Sequence[str]) -> str:
    """Return a suggestion: the allowed name nearest to ``name``, or all of them."""
    close = difflib.get_close_matches(name[:_LONGEST].lower(), allowed, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"must be one of: {', '.join(allowed)}"
