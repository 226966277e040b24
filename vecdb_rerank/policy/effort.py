"""How many of the candidates a reranker reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from vecdb_rerank._checks import in_range, integer

EffortName = Literal["auto", "full"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How many of the candidates a reranker reads before the others get estimated scores.

    Candidates are read in batches, the most promising first. Reading ends when ``pairs`` have been
    read, or when reading on is not expected to improve the page by more than ``tolerance``.

    Raises `ConfigurationError` if a value is out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    pairs: int | None = None
    """The most candidates that are read (at least 1); none sets no limit but ``k``."""
    tolerance: float = 0.001
    """The expected gain below which reading ends, as a share of the page's best possible discounted
    score (0 to 1); 0 reads all that ``pairs`` allows."""

    def __post_init__(self) -> None:
        if self.pairs is not None:
            object.__setattr__(self, "pairs", integer("policy.effort.pairs", self.pairs, 1))
        in_range("policy.effort.tolerance", self.tolerance, 0, 1)
