"""Finding connectors, rerankers and embedders by name, through entry points.

A package adds one with, for example, ``[project.entry-points."vecdb_rerank.rerankers"]`` and
``mine = "my_package:MyReranker"``; settings then name it by ``type = "mine"``.
"""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from typing import Any, Literal

from vecdb_rerank._optional import missing
from vecdb_rerank.errors import ConfigurationError

Kind = Literal["connectors", "rerankers", "embedders"]


def names(kind: Kind) -> list[str]:
    """The names of all that is installed of a kind."""
    return sorted({point.name for point in entry_points(group=f"vecdb_rerank.{kind}")})


def find(kind: Kind, name: str) -> Any:
    """The factory of this name; `ConfigurationError` names the nearest one there is."""
    for point in entry_points(group=f"vecdb_rerank.{kind}", name=name):
        try:
            return point.load()
        except ModuleNotFoundError as error:
            if (known := missing(error, name)) is None:
                raise
            raise known from error
    raise ConfigurationError("type", f"{unknown(kind, name)}")


def unknown(kind: Kind, name: str) -> str:
    """What is wrong with a name that nothing is installed under."""
    allowed = names(kind) if kind == "connectors" else [*names(kind), "none"]
    return f"{name!r} is no installed one of {kind}; {nearest(name, allowed)}"


def nearest(name: str, allowed: list[str]) -> str:
    """A hint at what was meant."""
    close = difflib.get_close_matches(name.lower(), allowed, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}"
