"""Joining relevance and first pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import BranchHit, Candidate, Scores
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.blending import confidence, final_scores
from vecdb_rerank.ranking.ordering import rerank

relevances = st.lists(st.floats(0, 1), min_size=1, max_size=30)
blends = st.builds(
    Blend, st.sampled_from(["confidence", "convex", "rrf", "replace"]), st.floats(0, 1)
)


def candidates(n: int, **branches: list[float]) -> list[Candidate]:
    """n candidates in first-pass order; a branch lists the scores of the first of them."""
    return [
        Candidate(
            position,
            position,
            f"text {position}",
            1 / (61 + position),
            branches={
                name: BranchHit(position + 1, scores[position])
                for name, scores in branches.items()
                if position < len(scores)
            },
        )
        for position in range(n)
    ]


@given(relevances, blends, st.booleans())
def test_final_scores_are_finite_and_within_zero_and_one(
    relevance: list[float], blend: Blend, evidence: bool
) -> None:
    branches = {"bm25": [9.0 - n for n in range(len(relevance) // 2)]} if evidence else {}
    final = final_scores(candidates(len(relevance), **branches), relevance, blend)
    assert len(final) == len(relevance)
    assert all(0 <= score <= 1 for score in final)


@given(relevances, blends)
def test_of_two_hits_alike_to_the_first_pass_the_more_relevant_is_first(
    relevance: list[float], blend: Blend
) -> None:
    hits = candidates(len(relevance), dense=[0.5] * len(relevance))
    if blend.method == "rrf":  # goes by ranks, which are never alike
        return
    final = final_scores(hits, relevance, blend)
    order = sorted(range(len(relevance)), key=lambda n: relevance[n])
    assert all(final[a] <= final[b] for a, b in itertools.pairwise(order))


def test_replace_is_the_relevance_alone() -> None:
    assert final_scores(candidates(3), [0.1, 0.9, 0.5], Blend("replace")) == [0.1, 0.9, 0.5]


def test_a_certain_reranker_decides_alone() -> None:
    relevance = [0.1, 0.97, 0.5]
    final = final_scores(
        candidates(3, bm25=[9.0, 1.0, 0.0], dense=[0.9, 0.1, 0.0]), relevance, Blend()
    )
    assert final == pytest.approx(relevance)


def test_an_unsure_reranker_has_three_tenths_against_two_branches() -> None:
    hits = candidates(3, bm25=[9.0, 5.0, 1.0], dense=[0.9, 0.6, 0.1])
    final = final_scores(hits, [0.5] * 3, Blend())
    first = [1.0, (0.5 + 0.5 / 0.8) / 2, 0.0]
    assert final == pytest.approx([0.3 * 0.5 + 0.7 * f for f in first])


def test_an_unsure_reranker_has_half_against_a_single_branch() -> None:
    final = final_scores(candidates(2, dense=[0.9, 0.1]), [0.5] * 2, Blend())
    assert final == pytest.approx([0.5 * 0.5 + 0.5, 0.5 * 0.5])


def test_a_fused_list_without_branches_counts_by_rank() -> None:
    final = final_scores(candidates(3), [0.5] * 3, Blend())
    assert final == pytest.approx([0.25 + 0.5 * 5 / (5 + rank) for rank in range(3)])


def test_a_hit_that_a_branch_lacks_is_a_tenth_of_its_range_below_the_least() -> None:
    hits = candidates(3, bm25=[9.0, 5.0])
    final = final_scores(hits, [0.5] * 3, Blend("convex", weight=0.5))
    assert final == pytest.approx([0.25 + 0.5, 0.25 + 0.5 * 0.1 / 1.1, 0.25])


@pytest.mark.parametrize("count", [1, 2])
def test_the_only_hits_of_a_branch_are_above_those_that_it_lacks(count: int) -> None:
    hits = candidates(3, bm25=[4.6] * count)
    final = final_scores(hits, [0.5] * 3, Blend("convex", weight=0.5))
    assert final == pytest.approx([0.75] * count + [0.25] * (3 - count))


def test_a_fixed_weight_of_one_is_the_relevance() -> None:
    final = final_scores(candidates(2), [0.5, 0.1], Blend("convex", weight=1.0))
    assert final == pytest.approx([0.5, 0.1])


def test_rrf_fuses_the_ranks_of_reranker_and_branches() -> None:
    hits = candidates(2, bm25=[9.0, 5.0], dense=[0.9])
    final = final_scores(hits, [0.1, 0.9], Blend("rrf", weight=0.5))
    assert final == pytest.approx(
        [0.5 / 12 + 0.5 * (1 / 11 + 1 / 11) / 2, 0.5 / 11 + 0.5 * (1 / 12) / 2]
    )


@pytest.mark.parametrize(
    ("top", "sure"), [(0.1, 0.0), (0.79, 0.0), (0.88, 0.5), (0.935, 1.0), (1.0, 1.0)]
)
def test_confidence_grows_with_the_best_relevance(top: float, sure: float) -> None:
    assert confidence([0.0, top, 0.05]) == pytest.approx(sure, abs=5e-3)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"method": "mean"}, "policy.blend.method"),
        ({"weight": 1.1}, "policy.blend.weight"),
        ({"weight": math.nan}, "policy.blend.weight"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Blend(**wrong)  # type: ignore[arg-type]  # what a user might do


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=30, unique=True),
    st.sampled_from(["confidence", "convex", "rrf", "replace"]),
    st.sampled_from([lambda x: x / 3 - 2, math.atan, lambda x: math.exp(x / 4), lambda x: x**3]),
)
def test_a_distortion_of_an_unknown_scale_does_not_change_the_order(
    logits: list[float], method: Any, distort: Callable[[float], float]
) -> None:
    distorted = [distort(x) for x in logits]
    assume(len(set(distorted)) == len(logits))  # still strictly increasing in doubles
    hits = candidates(len(logits))
    orders = [
        [hit.candidate.id for hit in rerank(hits, Scores.from_logits(raw), Blend(method)).hits]
        for raw in (logits, distorted)
    ]
    assert orders[0] == orders[1]
