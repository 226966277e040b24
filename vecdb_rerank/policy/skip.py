"""Rules for searches that are not reranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank._checks import above, at_least, in_range, is_bool


@dataclass(frozen=True, slots=True)
class Skip:
    """Rules for searches that are not reranked; each rule is off by default.

    The ``margin`` rule looks at the lead of the first pass's best hit: its distance to the second
    hit as a share of its distance to the last one. It must lead in every branch whose scores are
    known.

    Raises `ConfigurationError` if a value is out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    exact: bool = False
    """Skip if the query holds only quoted strings and identifiers, which BM25 finds best."""
    few: int | None = None
    """Skip if the first pass found at most this many hits (at least 1)."""
    margin: float | None = None
    """Skip if the best hit leads by at least this share (above 0, at most 1)."""
    shadow: bool = False
    """Rerank anyway; the outcome shows what skipping would have changed."""

    def __post_init__(self) -> None:
        is_bool("policy.skip.exact", self.exact)
        is_bool("policy.skip.shadow", self.shadow)
        if self.few is not None:
            at_least("policy.skip.few", self.few, 1)
        if self.margin is not None:
            above("policy.skip.margin", self.margin, 0)
            in_range("policy.skip.margin", self.margin, 0, 1)
