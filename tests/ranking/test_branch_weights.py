"""How much each branch counts, by what is configured and by what doctor measured."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb_rerank.model import BranchHit, Candidate, HitId
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import branch_weights, fusion
from vecdb_rerank.ranking.blending import final_scores
from vecdb_rerank.request import Fusion

TERMS = [9.0, 4.0, *([3.0] * 10)]
COSINES = [0.8 - 0.01 * n for n in range(12)]
# Eighths: a product with a power of two is exact, so that equal shares stay equal.
SCORES = st.lists(st.integers(1, 800).map(lambda n: n / 8), min_size=1, max_size=20)
PAIRS = st.one_of(st.none(), st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)))
AUTO = Fusion(weights="auto")


def auto(found: tuple[float, float] | None, quality: tuple[float, float] | None = None) -> Fusion:
    return Fusion(weights="auto", self_retrieval=found, branch_quality=quality)


def branch(scores: list[float], first: int = 0) -> dict[HitId, BranchHit]:
    return fusion.branch((first + n, score) for n, score in enumerate(scores))


def shares(bm25: list[float], dense: list[float], how: Fusion | None = None) -> tuple[float, float]:
    decided = branch_weights.decide({"bm25": branch(bm25), "dense": branch(dense, 5)}, how or AUTO)
    assert all(weight.reason for weight in decided.values())
    return decided["bm25"].share, decided["dense"].share


def test_branches_of_which_nothing_is_known_count_the_same() -> None:
    assert shares(TERMS, COSINES) == shares(TERMS[:1], COSINES) == (0.5, 0.5)


@pytest.mark.parametrize("how", [AUTO, auto((0.1, 0.9))])
def test_a_branch_without_hits_weighs_nothing(how: Fusion) -> None:
    assert shares([], COSINES, how) == (0.0, 1.0)
    assert shares(TERMS, [], how) == (1.0, 0.0)


def test_given_weights_win() -> None:
    assert shares(TERMS, COSINES, Fusion(weights=(3, 1), self_retrieval=(0.1, 0.9))) == (0.75, 0.25)


@pytest.mark.parametrize(
    ("found", "prior"),
    [
        (None, (0.5, 0.5)),
        ((0.98, 0.76), (0.5, 0.5)),
        ((0.9, 0.45), (2 / 3, 1 / 3)),
        ((0.99, 0.1), (1.0, 0.0)),
        ((0.0, 0.4), (0.0, 1.0)),
        ((0.58, 0.12), (0.5, 0.5)),  # sentences find neither: pages of tables
    ],
)
def test_a_branch_that_loses_stored_documents_counts_less(
    found: tuple[float, float] | None, prior: tuple[float, float]
) -> None:
    how = auto(found)
    assert branch_weights.prior(how) == pytest.approx(prior)
    assert shares(TERMS, COSINES, how) == pytest.approx(prior)
    assert branch_weights.in_fusion(how) is (prior[0] != prior[1])


@pytest.mark.parametrize(
    ("quality", "bm25"),
    [
        ((0.6, 0.6), 0.5),
        ((0.59, 0.6), 0.5),  # within chance
        ((0.48, 0.6), 0.15 / 1.15),
        ((0.3, 0.6), 0.0),
        ((0.0, 0.6), 0.0),
        ((0.6, 0.3), 0.5),  # a reranker is misled by words as BM25 is
        ((0.6, 0.0), 0.5),
    ],
)
def test_bm25_counts_less_in_the_blend_alone_if_its_hits_are_worse(
    quality: tuple[float, float], bm25: float
) -> None:
    how = auto(None, quality)
    assert shares(TERMS, COSINES, how) == pytest.approx((bm25, 1 - bm25))
    assert branch_weights.prior(how) == (0.5, 0.5)


def test_both_measurements_count() -> None:
    (alone, _), (both, _) = (
        shares(TERMS, COSINES, auto(found, (0.54, 0.6))) for found in (None, (0.45, 0.9))
    )
    assert both == pytest.approx(alone / 2 / (alone / 2 + 1 - alone))


@pytest.mark.parametrize(
    ("how", "weak"),
    [
        (AUTO, None),
        (auto((0.98, 0.6)), None),
        (auto((0.98, 0.2)), "dense"),
        (auto((0.1, 0.6)), "bm25"),
        (auto((0.58, 0.12)), None),
        (auto(None, (0.55, 0.6)), None),
        (auto(None, (0.45, 0.6)), "bm25"),
        (auto((0.98, 0.9), (0.6, 0.45)), None),
        (auto((0.98, 0.2), (0.45, 0.6)), "dense"),
        (Fusion(weights=(1, 0), branch_quality=(0.45, 0.6)), None),
    ],
)
def test_a_weak_branch_is_named(how: Fusion, weak: str | None) -> None:
    sentence = branch_weights.weak_branch(how)
    assert (sentence is None) == (weak is None)
    names = [] if sentence is None else [n for n in ("bm25", "dense") if n in sentence]
    assert sorted(names, key=(sentence or "").index)[:1] == ([weak] if weak else [])


def test_a_branch_that_finds_nothing_brings_no_candidates() -> None:
    both = [branch(TERMS), branch(COSINES, 5)]
    without = fusion.fuse(both, auto((0.1, 0.9)))
    assert [i for i, _ in without[:12]] == list(range(5, 17))


@given(SCORES, SCORES, PAIRS, st.integers(-8, 8))
def test_the_scale_of_scores_changes_nothing(
    bm25: list[float], dense: list[float], found: tuple[float, float] | None, power: int
) -> None:
    how = auto(found)
    scaled = [score * 2.0**power for score in bm25], [score * 2.0**-power for score in dense]
    assert shares(*scaled, how) == pytest.approx(shares(bm25, dense, how))


@given(SCORES, SCORES, PAIRS)
def test_weights_are_shares(
    bm25: list[float], dense: list[float], found: tuple[float, float] | None
) -> None:
    first, second = shares(bm25, dense, auto(found))
    assert first + second == pytest.approx(1)
    assert min(first, second) >= 0


@settings(deadline=None)  # loads numpy
@given(SCORES, SCORES)
def test_the_order_of_the_branches_changes_nothing(bm25: list[float], dense: list[float]) -> None:
    hits: Mapping[str, Mapping[HitId, BranchHit]] = {
        "bm25": branch(bm25),
        "dense": branch(dense, 5),
    }
    turned = dict(reversed(list(hits.items())))
    weights = branch_weights.decide(hits, AUTO)
    assert branch_weights.decide(turned, AUTO) == weights
    orders = [_blended(branches, weights) for branches in (hits, turned)]
    assert orders[0] == orders[1]


def _blended(
    branches: Mapping[str, Mapping[HitId, BranchHit]], weights: Mapping[str, object]
) -> list[float]:
    ids = sorted({i for hits in branches.values() for i in hits}, key=str)
    found = [
        Candidate(n, i, "", 0.0, branches={b: h[i] for b, h in branches.items() if i in h})
        for n, i in enumerate(ids)
    ]
    return final_scores(found, [0.5] * len(found), Blend(), weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["confidence", "convex", "rrf"])
def test_the_heavier_branch_decides_the_blend(method: str) -> None:
    hits = [
        Candidate(0, 0, "", 0.0, branches={"bm25": BranchHit(1, 9.0), "dense": BranchHit(2, 0.1)}),
        Candidate(1, 1, "", 0.0, branches={"bm25": BranchHit(2, 1.0), "dense": BranchHit(1, 0.9)}),
    ]
    for how, best in ((Fusion(weights=(3, 1)), 0), (Fusion(weights=(1, 3)), 1)):
        weights = branch_weights.decide({"bm25": {}, "dense": {}}, how)
        final = final_scores(hits, [0.5, 0.5], Blend(method, 0.1), weights)  # type: ignore[arg-type]
        assert final.index(max(final)) == best
