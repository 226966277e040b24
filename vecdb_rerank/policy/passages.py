"""How long documents are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank.errors import ConfigurationError

Join = Literal["max", "mean"]


@dataclass(frozen=True, slots=True)
class Passages:
    """How long documents are cut (Dai and Callan, 2019), in the reranker's own tokens.

    A passage ends at the end of a sentence if one is near.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    window: int | None = None
    """Tokens of a passage, where that is less than the reranker takes beside the query (from 8)."""
    overlap: int = 32
    """Tokens that a passage shares with the one before (from 0, below the window)."""
    most: int = 4
    """Passages of a document (at least 1); each costs as much as a document."""
    join: Join = "max"
    """What a document's score is of its passages'."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 8:
            raise ConfigurationError("policy.passages.window", f"{self.window} is below 8 tokens")
        if not 0 <= self.overlap < (self.window or self.overlap + 1):
            raise ConfigurationError(
                "policy.passages.overlap", f"{self.overlap} is not from 0 to below the window"
            )
        if self.most < 1:
            raise ConfigurationError("policy.passages.most", f"{self.most} is below 1")
        if self.join not in get_args(Join):
            raise ConfigurationError(
                "policy.passages.join", f"{self.join!r} is none of {', '.join(get_args(Join))}"
            )
