"""How long documents are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank._checks import at_least, one_of
from vecdb_rerank.errors import ConfigurationError

Join = Literal["max", "mean"]


@dataclass(frozen=True, slots=True)
class Passages:
    """How long documents are split into passages (Dai and Callan, 2019), in the reranker's tokens.

    A passage ends at the end of a sentence if one is near.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    window: int | None = None
    """Tokens of a passage (from 8); at most what the reranker reads beside the query."""
    overlap: int = 32
    """Tokens that a passage shares with the one before (0 or more, below the window)."""
    most: int = 4
    """The most passages of a document (at least 1); each costs as much as a document."""
    join: Join = "max"
    """A document's score: the ``max`` or the ``mean`` of its passages' scores."""

    def __post_init__(self) -> None:
        if self.window is not None:
            at_least("policy.passages.window", self.window, 8)
        at_least("policy.passages.overlap", self.overlap, 0)
        if self.window is not None and self.overlap >= self.window:
            raise ConfigurationError(
                "policy.passages.overlap", f"must be below the window, got {self.overlap}"
            )
        at_least("policy.passages.most", self.most, 1)
        one_of("policy.passages.join", self.join, get_args(Join))
