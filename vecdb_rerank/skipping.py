"""Searches that need no reranker, by rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank.candidates import Candidate
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.jargon import exact_terms


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
            raise ConfigurationError(f"policy.skip.few: {self.few} is below 1")
        if self.margin is not None and not 0 < self.margin <= 1:
            raise ConfigurationError(f"policy.skip.margin: {self.margin} is not above 0, up to 1")


def rule(query: str, candidates: Sequence[Candidate], rules: Skip) -> str | None:
    """The rule by which ``candidates`` (in first-pass order) need no reranker, or None."""
    if rules.few is not None and len(candidates) <= rules.few:
        return f"few: {len(candidates)} hits"
    if rules.exact and _is_exact(query):
        return "exact: the query is identifiers and quoted strings alone"
    if rules.margin is not None and (lead := _lead(candidates)) >= rules.margin:
        return f"margin: the best hit leads by {lead:.2f}"
    return None


def _is_exact(query: str) -> bool:
    rest = query
    terms = exact_terms(query)
    for term in sorted(terms, key=len, reverse=True):
        rest = rest.replace(term, " ")
    return bool(terms) and not re.search(r"\w", rest)


def _lead(candidates: Sequence[Candidate]) -> float:
    """The least lead of the first candidate over the branches; 0.0 where one puts it lower."""
    if len(candidates) < 2:
        return 1.0
    names = {name for candidate in candidates for name in candidate.branches}
    columns = [[c.branches[n].score for c in candidates if n in c.branches] for n in names]
    first = [
        candidates[0].branches[n].score if n in candidates[0].branches else None for n in names
    ]
    if not names:
        columns, first = [[c.score for c in candidates]], [candidates[0].score]
    return min(_lead_of(one, scores) for one, scores in zip(first, columns, strict=True))


def _lead_of(first: float | None, scores: Sequence[float]) -> float:
    best, *others = sorted(scores, reverse=True)
    if first != best or not others:
        return 0.0
    spread = best - others[-1]
    return (best - others[0]) / spread if spread else 0.0
