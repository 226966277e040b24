"""Which searches are not reranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Skip:
    """Rules by which a search is not reranked; each is off until it is set.

    BM25 finds exact terms best. The lead that ``margin`` looks at is that of the first pass's best
    hit over the second, in parts of the distance to the last one, in each branch whose scores are
    known.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    exact: bool = False
    """Skip where the query is nothing but quoted strings, identifiers and error codes."""
    few: int | None = None
    """Skip where the first pass found at most so many hits (at least 1)."""
    margin: float | None = None
    """Skip where the best hit leads by this part of the scores' range (above 0, up to 1)."""
    shadow: bool = False
    """Rerank all the same; the outcome says what skipping would have changed."""

    def __post_init__(self) -> None:
        if self.few is not None and self.few < 1:
            raise ConfigurationError("policy.skip.few", f"{self.few} is below 1")
        if self.margin is not None and not 0 < self.margin <= 1:
            raise ConfigurationError("policy.skip.margin", f"{self.margin} is not above 0, up to 1")
