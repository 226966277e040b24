"""Rules that keep hits with exact terms of the query near the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank._checks import at_least, in_range
from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExactTerms:
    """Keeps hits with rare exact terms of the query near the top, whatever the reranker scores.

    Exact terms are quoted strings, words that look like identifiers (``ERR_4032``, ``utf8``,
    ``os.path``, ``readLine``, ``SCSI``) and those of ``terms`` that the query holds. A term is rare
    if at most the share ``rare`` of the candidates, or just one of them, holds it. The first hit
    with a rare term ranks no lower than ``floor``, the next one no lower than one rank below, and
    so on.

    Raises `ConfigurationError` if a value is out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    floor: int = 3
    """The lowest rank of the first hit with a rare term (at least 1)."""
    rare: float = 0.04
    """The largest share of the candidates that may hold a rare term (0 to 1)."""
    terms: tuple[str, ...] = ()
    """Words of your domain that count as exact terms."""
    boost: float = 0.0
    """Added to the final score of each hit that holds one of ``terms``, rare or not (0 to 1)."""

    def __post_init__(self) -> None:
        at_least("policy.exact_terms.floor", self.floor, 1)
        in_range("policy.exact_terms.rare", self.rare, 0, 1)
        in_range("policy.exact_terms.boost", self.boost, 0, 1)
        if isinstance(self.terms, str) or not all(
            isinstance(term, str) and term.strip() for term in self.terms
        ):
            raise ConfigurationError(
                "policy.exact_terms.terms",
                f"must be a tuple of non-empty texts, got {self.terms!r}",
            )
