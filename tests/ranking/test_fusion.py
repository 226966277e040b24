"""Fusing ranked lists and ordering candidates by a reranker's scores."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.model import BranchHit, Candidate, HitId, RankedHit, Ranking, Scores, sigmoid
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.fusion import fuse
from vecdb_rerank.ranking.ordering import first_pass_order, keep_relevant, rerank, unchanged
from vecdb_rerank.request import Fusion

REPLACE = Blend("replace")


def branch(scores: dict[HitId, float]) -> dict[HitId, BranchHit]:
    return {hit_id: BranchHit(n, score) for n, (hit_id, score) in enumerate(scores.items(), 1)}


def candidate(position: int, score: float = 0.5) -> Candidate:
    return Candidate(position, position, f"text {position}", score)


BM25 = branch({"a": 9.0, "b": 5.0, "c": 1.0})
DENSE = branch({"c": 0.9, "a": 0.8, "d": 0.1})

logits = st.floats(-50, 50)
maybe = st.one_of(st.none(), logits)


def test_rrf_is_the_sum_of_reciprocal_ranks_counted_from_one() -> None:
    fused = fuse([BM25, DENSE], Fusion(rank_constant=60))
    assert [hit_id for hit_id, _ in fused] == ["a", "c", "b", "d"]
    assert [score for _, score in fused] == pytest.approx(
        [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62, 1 / 63]
    )


def test_rrf_multiplies_each_branch_by_its_weight() -> None:
    fused = dict(fuse([BM25, DENSE], Fusion(rank_constant=1, weights=(3, 0.5))))
    assert fused["a"] == pytest.approx(3 / 2 + 0.5 / 3)
    assert fused["b"] == pytest.approx(3 / 3)
    assert fused["d"] == pytest.approx(0.5 / 4)


def test_a_weight_of_zero_leaves_a_branch_without_say() -> None:
    fused = fuse([BM25, DENSE], Fusion(weights=(0, 1)))
    assert [hit_id for hit_id, _ in fused] == ["c", "a", "d", "b"]
    assert fused[-1][1] == 0.0


def test_min_max_is_the_weighted_mean_of_scores_on_zero_to_one() -> None:
    fused = dict(fuse([BM25, DENSE], Fusion("min_max", weights=(1, 3))))
    assert fused["a"] == pytest.approx(0.25 * 1.0 + 0.75 * 0.7 / 0.8)
    assert fused["b"] == pytest.approx(0.25 * 0.5)
    assert fused["c"] == pytest.approx(0.75 * 1.0)
    assert fused["d"] == pytest.approx(0.0)


def test_l2_divides_by_the_length_of_the_score_vector() -> None:
    fused = dict(fuse([branch({"a": 3, "b": 4}), branch({"b": 5})], Fusion("l2")))
    assert fused == {"a": pytest.approx(0.5 * 3 / 5), "b": pytest.approx(0.5 * 4 / 5 + 0.5)}


@pytest.mark.parametrize("method", ["rrf", "min_max", "l2"])
def test_an_empty_branch_adds_nothing(method: str) -> None:
    how = Fusion(method)  # type: ignore[arg-type]  # a plain str, from parametrize
    assert [hit_id for hit_id, _ in fuse([BM25, {}], how)] == ["a", "b", "c"]
    assert fuse([{}, {}], how) == []


def test_min_max_counts_a_branch_of_equal_scores_fully() -> None:
    assert fuse([branch({"b": 2.0, "a": 2.0}), {}], Fusion("min_max")) == [("a", 0.5), ("b", 0.5)]


def test_l2_of_zeros_is_zero() -> None:
    assert fuse([branch({"a": 0.0, "b": 0.0}), {}], Fusion("l2")) == [("a", 0.0), ("b", 0.0)]


def test_negative_scores_keep_their_order() -> None:
    negative = branch({"a": -0.1, "b": -0.5, "c": -0.9})
    assert dict(fuse([negative, {}], Fusion("min_max"))) == {
        "a": pytest.approx(0.5),
        "b": pytest.approx(0.25),
        "c": 0.0,
    }
    assert [hit_id for hit_id, _ in fuse([negative, {}], Fusion("l2"))] == ["a", "b", "c"]


def test_ties_are_broken_by_id_numbers_first() -> None:
    tied = [branch({"b": 1.0}), branch({10: 1.0}), branch({"a": 1.0}), branch({2: 1.0})]
    for first in tied:
        for second in tied:
            ids = [i for i, _ in fuse([first, second], Fusion())]
            assert ids == sorted(ids, key=lambda i: (isinstance(i, str), i))


@given(
    st.dictionaries(st.integers(0, 30), st.floats(-1e6, 1e6), max_size=12),
    st.dictionaries(st.integers(0, 30), st.floats(-1e6, 1e6), max_size=12),
    st.sampled_from([Fusion(), Fusion("min_max"), Fusion("l2", weights=(0.2, 0.8))]),
)
def test_fusing_keeps_every_hit_once_best_first(
    bm25: dict[HitId, float], dense: dict[HitId, float], how: Fusion
) -> None:
    fused = fuse([branch(bm25), branch(dense)], how)
    assert sorted(i for i, _ in fused if isinstance(i, int)) == sorted({*bm25, *dense})
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(map(math.isfinite, scores))


def test_first_pass_order_does_not_depend_on_the_order_of_equal_scores() -> None:
    tied: list[HitId] = ["b", 3, "a", 1]
    hits = [Candidate(n, i, "", 1.0) for n, i in enumerate(tied)]
    hits.append(Candidate(4, "z", "", 2.0))
    for order in (hits, hits[::-1], hits[2:] + hits[:2]):
        assert [c.id for c in first_pass_order(order)] == ["z", 1, 3, "a", "b"]


def test_unchanged_keeps_order_and_scores_of_the_database() -> None:
    ranking = unchanged([candidate(0, 7.5), candidate(1, 3.5)])
    assert [(h.candidate.id, h.score, h.relevance) for h in ranking.hits] == [
        (0, 7.5, None),
        (1, 3.5, None),
    ]
    assert ranking.max_score == 7.5
    assert unchanged([]).max_score is None


@given(st.lists(maybe, max_size=30))
def test_reranking_keeps_every_candidate_once(raw: list[float | None]) -> None:
    hits = [candidate(n) for n in range(len(raw))]
    ranking = rerank(hits, Scores.from_logits(raw), REPLACE)
    assert sorted(h.candidate.position for h in ranking.hits) == list(range(len(raw)))


@given(st.lists(maybe, max_size=30))
def test_reranked_scores_never_increase(raw: list[float | None]) -> None:
    ranking = rerank([candidate(n) for n in range(len(raw))], Scores.from_logits(raw), REPLACE)
    scores = [h.score for h in ranking.hits]
    assert scores == sorted(scores, reverse=True)
    assert ranking.max_score == (scores[0] if scores else None)


@given(st.lists(maybe, max_size=30))
def test_unscored_hits_follow_in_first_pass_order_strictly_below_the_last_scored(
    raw: list[float | None],
) -> None:
    ranking = rerank([candidate(n) for n in range(len(raw))], Scores.from_logits(raw), REPLACE)
    scored = sum(x is not None for x in raw)
    tail = ranking.hits[scored:]
    assert [h.candidate.position for h in tail] == [n for n, x in enumerate(raw) if x is None]
    assert all(h.raw is None and h.relevance is None for h in tail)
    scores = [h.score for h in ranking.hits[max(0, scored - 1) :]]
    assert all(above > below for above, below in pairwise(scores) if tail)


@given(st.lists(logits, min_size=1, max_size=30))
def test_raw_scores_decide_and_equal_ones_keep_first_pass_order(raw: list[float]) -> None:
    ranking = rerank([candidate(n) for n in range(len(raw))], Scores.from_logits(raw), REPLACE)
    expected = sorted(range(len(raw)), key=lambda n: (-raw[n], n))
    assert [h.candidate.position for h in ranking.hits] == expected


def test_logits_order_hits_whose_relevance_is_the_same_number() -> None:
    # The sigmoid of both is 1.0 in floating point; only the logits differ.
    ranking = rerank([candidate(0), candidate(1)], Scores.from_logits([60.0, 61.0]), REPLACE)
    assert [h.candidate.position for h in ranking.hits] == [1, 0]
    assert [h.score for h in ranking.hits] == [1.0, 1.0]


def test_scores_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        rerank([candidate(0)], Scores.from_logits([1.0, 2.0]), REPLACE)


@given(st.lists(maybe, max_size=30), st.floats(0, 1))
def test_the_minimum_drops_scored_hits_only(raw: list[float | None], minimum: float) -> None:
    before = rerank([candidate(n) for n in range(len(raw))], Scores.from_logits(raw), REPLACE)
    after = keep_relevant(before, minimum)
    assert after.hits == tuple(
        h for h in before.hits if h.relevance is None or h.relevance >= minimum
    )
    assert sum(h.relevance is None for h in after.hits) == sum(x is None for x in raw)


def test_without_a_minimum_nothing_is_dropped() -> None:
    ranking = Ranking.of([RankedHit(candidate(0), 0.0, -99.0, 0.0)])
    assert keep_relevant(ranking, None) is ranking


def test_a_page_keeps_the_best_score_of_the_whole_ranking() -> None:
    ranking = unchanged([candidate(n, 10.0 - n) for n in range(5)])
    page = ranking.page(2, 2)
    assert [h.candidate.id for h in page.hits] == [2, 3]
    assert page.max_score == 10.0


@given(st.floats(allow_nan=False))
def test_the_sigmoid_stays_within_zero_and_one(logit: float) -> None:
    assert 0.0 <= sigmoid(logit) <= 1.0
    assert sigmoid(0.0) == 0.5
