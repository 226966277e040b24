"""Which hits with exact terms of the query stay near the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExactTerms:
    """Keeps hits that hold the query's rare exact terms near the top, whatever the reranker says.

    Exact terms are what stands in quotes, what looks like an identifier (``ERR_4032``, ``utf8``,
    ``os.path``, ``readLine``, ``SCSI``), and those of ``terms`` that the query has. Rare is one
    that at least one candidate and at most the share ``rare`` of them holds. Its hits come no lower
    than rank ``floor``, each further one a rank below.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    floor: int = 3
    """The lowest rank of the first hit with a rare term (from 1)."""
    rare: float = 0.04
    """A term is rare that at most this share of the candidates holds (0 to 1)."""
    terms: tuple[str, ...] = ()
    """Words of your domain that count as exact terms."""
    boost: float = 0.0
    """Added to a hit's final score for holding one of ``terms``, rare or not (0 to 1)."""

    def __post_init__(self) -> None:
        if self.floor < 1:
            raise ConfigurationError("policy.exact_terms.floor", f"{self.floor} is below 1")
        for name in ("rare", "boost"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(
                    f"policy.exact_terms.{name}", f"{getattr(self, name)} is not in 0 to 1"
                )
        if not all(term.strip() for term in self.terms):
            raise ConfigurationError("policy.exact_terms.terms", "one of them is empty")
