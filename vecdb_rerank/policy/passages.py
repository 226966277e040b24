"""How long documents are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank._checks import at_least, one_of
from vecdb_rerank.errors import ConfigurationError

Join = Literal["max", "mean"]
PassageMode = Literal["all", "focus", "head"]


@dataclass(frozen=True, slots=True)
class Passages:
    """What a reranker reads of long documents, in its own tokens.

    ``all`` reads passages (Dai and Callan, 2019), each of which ends at the end of a sentence if
    one is near. ``focus`` reads the first sentence and those that hold most of the query's words;
    texts that are not prose, such as JSON, tables and code, are read from their beginning.
    ``head`` reads the beginning.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mode: PassageMode = "all"
    """What is read: ``all`` passages, the sentences of ``focus``, or the beginning (``head``)."""
    window: int | None = None
    """Tokens of a passage (from 8), by default as many as the reranker reads beside the query, or
    of what ``focus`` reads of a document (default: 96)."""
    overlap: int = 32
    """Tokens that a passage shares with the one before (0 or more, below the window of ``all``)."""
    most: int = 4
    """The most passages of a document (at least 1); each costs as much as a document."""
    join: Join = "max"
    """A document's score: the ``max`` or the ``mean`` of its passages' scores."""

    def __post_init__(self) -> None:
        one_of("policy.passages.mode", self.mode, get_args(PassageMode))
        if self.mode == "head" and self.window is not None:
            raise ConfigurationError(
                "policy.passages.window", "must not be set for mode 'head', which has no passages"
            )
        if self.window is not None:
            at_least("policy.passages.window", self.window, 8)
        at_least("policy.passages.overlap", self.overlap, 0)
        if self.mode == "all" and self.window is not None and self.overlap >= self.window:
            raise ConfigurationError(
                "policy.passages.overlap", f"must be below the window, got {self.overlap}"
            )
        at_least("policy.passages.most", self.most, 1)
        one_of("policy.passages.join", self.join, get_args(Join))


HEAD = Passages("head")
"""Reads as much of the beginning as fits beside the query."""
