"""Decide by rule whether a search needs no reranker."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vecdb_rerank.model import Candidate
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.ranking.exact_terms import exact_terms


def rule(query: str, candidates: Sequence[Candidate], rules: Skip) -> str | None:
    """Return the rule by which ``candidates`` (in first-pass order) need no reranker, or None."""
    if rules.few is not None and len(candidates) <= rules.few:
        return f"few: {len(candidates)} hits"
    if rules.exact and _is_exact(query):
        return "exact: the query holds only identifiers and quoted strings"
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
    """Return the smallest lead of the first candidate in any branch, 0.0 if another one leads."""
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
