"""Keep the caller's own formula in force after reranking: pure functions.

A formula makes a hit's score from its native score, which the query gave it, and from more: stock,
freshness, price. Reranking replaces the native scores alone. They are dealt out again, the best one
to the first hit of the new order, and the formula is applied to what each hit then has. So the
formula sees numbers of the scale it was written for, and an order that was kept gives the
database's own result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vecdb_rerank.model import Candidate, RankedHit, Ranking
from vecdb_rerank.protocols import Formula
from vecdb_rerank.ranking import ordering

# Databases round scores to 32 bits (6e-8), and a formula can make more of that difference.
TOLERANCE = 1e-5


def mismatch(candidates: Sequence[Candidate], formula: Formula) -> str | None:
    """Return why the formula cannot be applied to other scores of ``candidates``; None if it can.

    It has to explain the scores that they have, and those under it have to differ.
    """
    for candidate in candidates:
        native = formula.native.get(candidate.position)
        if native is None:
            return f"formula: the score of hit {candidate.id} under it did not come"
        try:
            score = formula.score(candidate.position, native)
        except ValueError as error:
            return f"formula: it cannot be evaluated for hit {candidate.id}: {error}"
        if not math.isclose(score, candidate.score, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2):
            found = f"gives {score:g}, the database {candidate.score:g}"
            return f"formula: as it is read here, it {found} for hit {candidate.id}"
    if len(candidates) > 1 and len({formula.native[c.position] for c in candidates}) == 1:
        return "formula: every hit has the same score under it"
    return None


def under(candidates: Sequence[Candidate], formula: Formula) -> list[Candidate]:
    """Return ``candidates`` with their native scores, best first."""
    native = [replace(c, score=formula.native[c.position]) for c in candidates]
    return ordering.first_pass_order(native, formula.ascending)


def applied(ranking: Ranking, candidates: Sequence[Candidate], formula: Formula) -> Ranking:
    """Deal the native scores out in the order of ``ranking``, and order by the formula.

    The hits of ``ranking`` have their native scores, ``candidates`` are the same hits with the
    database's. Equal results keep the order of ``ranking``. Raises `ValueError` if the formula has
    no value for a score that another hit had.
    """
    own = {candidate.position: candidate.score for candidate in candidates}
    dealt = sorted((h.candidate.score for h in ranking.hits), reverse=not formula.ascending)
    hits = []
    for hit, native in zip(ranking.hits, dealt, strict=True):
        position = hit.candidate.position
        kept = native == hit.candidate.score
        score = own[position] if kept else formula.score(position, native)
        hits.append(hit.with_score(score))
    return Ranking.of(sorted(hits, key=lambda hit: -hit.score))


def followed(window: Ranking, rest: Sequence[Candidate]) -> Ranking:
    """Return the hits past a window with the database's scores, none above the window's last."""
    last = window.hits[-1].score if window.hits else math.inf
    return Ranking.of(RankedHit(c, min(c.score, last)) for c in rest)
