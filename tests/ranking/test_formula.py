"""Native scores dealt out in the reranked order, under the caller's own formula."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.model import Candidate, RankedHit, Ranking
from vecdb_rerank.protocols import Formula
from vecdb_rerank.ranking import formula

scores = st.floats(-100, 100, allow_subnormal=False)
hits = st.lists(st.tuples(scores, scores), min_size=1, max_size=12)  # native score, boost


def made(rows: Sequence[tuple[float, float]], ascending: bool) -> tuple[list[Candidate], Formula]:
    """Hits whose score is their native score (less is better if ``ascending``) and a boost."""
    sign = -1 if ascending else 1
    native = {n: score for n, (score, _) in enumerate(rows)}
    kept = Formula(native, lambda n, score: sign * score + rows[n][1], ascending)
    found = [Candidate(n, n, f"text {n}", kept.score(n, native[n])) for n in native]
    return found, kept


def ranked(candidates: Sequence[Candidate], order: Sequence[int]) -> Ranking:
    return Ranking.of(RankedHit(candidates[n], -float(n)) for n in order)


@given(rows=hits, ascending=st.booleans())
def test_an_order_that_is_kept_gives_the_own_scores(
    rows: list[tuple[float, float]], ascending: bool
) -> None:
    found, kept = made(rows, ascending)
    same = len(rows) > 1 and len(set(kept.native.values())) == 1
    assert (formula.mismatch(found, kept) is not None) is same
    below = formula.under(found, kept)
    native = [c.score for c in below]
    assert native == sorted(native, reverse=not ascending)
    result = formula.applied(ranked(below, range(len(below))), found, kept)
    own = {c.position: c.score for c in found}
    assert [h.score for h in result.hits] == sorted(own.values(), reverse=True)
    assert all(h.score == own[h.candidate.position] for h in result.hits)


@given(rows=hits, ascending=st.booleans(), data=st.data())
def test_any_order_has_all_hits_and_the_native_scores(
    rows: list[tuple[float, float]], ascending: bool, data: st.DataObject
) -> None:
    found, kept = made(rows, ascending)
    below = formula.under(found, kept)
    order = data.draw(st.permutations(range(len(below))))
    result = formula.applied(ranked(below, order), found, kept)
    assert sorted(h.candidate.position for h in result.hits) == list(range(len(rows)))
    values = [h.score for h in result.hits]
    assert values == sorted(values, reverse=True)
    sign = -1 if ascending else 1
    dealt = [sign * (h.score - rows[h.candidate.position][1]) for h in result.hits]
    assert sorted(dealt) == pytest.approx(sorted(kept.native.values()), abs=1e-9)


def test_hits_of_equal_results_keep_the_reranked_order() -> None:
    found, kept = made([(3.0, 0.0), (2.0, 1.0), (1.0, 2.0)], ascending=False)
    below = formula.under(found, kept)
    result = formula.applied(ranked(below, (1, 0, 2)), found, kept)
    assert [(h.candidate.id, h.score) for h in result.hits] == [(1, 4.0), (2, 3.0), (0, 2.0)]


def test_what_does_not_explain_the_scores_is_named() -> None:
    found, kept = made([(3.0, 0.0), (2.0, 1.0)], ascending=False)
    assert "hit 1" in str(formula.mismatch(found, Formula({0: 3.0}, kept.score)))
    assert "hit 1" in str(formula.mismatch(found, Formula({0: 3.0, 1: 2.1}, kept.score)))
    undefined = Formula(kept.native, lambda n, score: math.log(score - 3))
    assert "hit 0" in str(formula.mismatch(found, undefined))


def test_hits_past_the_window_keep_their_scores_below_it() -> None:
    found, _ = made([(3.0, 0.0), (2.0, 0.0), (1.0, 0.0)], ascending=False)
    window = ranked(found, (2,))
    result = formula.followed(Ranking.of(h.with_score(2.5) for h in window.hits), found[:2])
    assert [h.score for h in result.hits] == [2.5, 2.0]
