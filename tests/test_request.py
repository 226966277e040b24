"""A search is checked before anything is sent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.ranking import branch_weights
from vecdb_rerank.request import MAX_K, Fusion, Search, SearchDefaults

GOOD: dict[str, Any] = {
    "query": "how do I cut a list in two?",
    "k": 50,
    "limit": 10,
    "offset": 0,
    "mode": "hybrid",
    "depth": 50,
    "fusion": Fusion(),
}


def test_the_documented_defaults() -> None:
    assert (SearchDefaults().k, SearchDefaults().mode) == (50, "hybrid")
    assert Fusion() == Fusion("rrf", rank_constant=60, weights="auto", self_retrieval=None)


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"k": 1, "limit": 1},
        {"k": MAX_K, "limit": MAX_K, "depth": MAX_K},
        {"depth": 1},
        {"offset": 1_000_000},
        {"mode": "bm25"},
        {"mode": "dense", "query_vector": [0.1, -0.2]},
        {"query": "日本語 \N{PILE OF POO}"},
    ],
)
def test_good_arguments_are_taken(good: dict[str, Any]) -> None:
    search = Search(**GOOD | good)
    assert search.needs_vector == (search.mode != "bm25")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"query": ""}, "query"),
        ({"query": " \n\t"}, "query"),
        ({"query": None}, "query"),
        ({"query": b"bytes"}, "query"),
        ({"query": "half a pair: \ud83d"}, "query"),
        ({"k": 0, "limit": 0}, "k"),
        ({"k": -1}, "k"),
        ({"k": MAX_K + 1}, "k"),
        ({"k": 5.0, "limit": 5}, "k"),
        ({"k": "50"}, "k"),
        ({"limit": 0}, "limit"),
        ({"limit": 51}, "limit"),
        ({"limit": None}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 0.5}, "offset"),
        ({"offset": "10"}, "offset"),
        ({"offset": None}, "offset"),
        ({"mode": "fuzzy"}, "mode"),
        ({"mode": ""}, "mode"),
        ({"depth": 0}, "depth"),
        ({"depth": MAX_K + 1}, "depth"),
        ({"query_vector": [0.1, math.nan]}, "query_vector"),
        ({"query_vector": [math.inf]}, "query_vector"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{named}: "):
        Search(**GOOD | wrong)


def test_a_limit_above_k_says_which_of_the_two_to_raise() -> None:
    with pytest.raises(ConfigurationError, match=r"^limit: .*raise k"):
        Search(**GOOD | {"k": 10, "limit": 20})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"k": 0}, "k"),
        ({"limit": 51}, "limit"),
        ({"mode": "fuzzy"}, "mode"),
        ({"depth": 0}, "depth"),
    ],
)
def test_wrong_defaults_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{named}: "):
        SearchDefaults(**wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"method": "borda"}, "fusion.method"),
        ({"rank_constant": 0}, "fusion.rank_constant"),
        ({"rank_constant": -60}, "fusion.rank_constant"),
        ({"weights": (0.0, 0.0)}, "fusion.weights"),
        ({"weights": (-1.0, 2.0)}, "fusion.weights"),
        ({"weights": (math.nan, 1.0)}, "fusion.weights"),
        ({"weights": (math.inf, 1.0)}, "fusion.weights"),
        ({"weights": (1.0,)}, "fusion.weights"),
        ({"weights": (1.0, 1.0, 1.0)}, "fusion.weights"),
        ({"weights": ()}, "fusion.weights"),
        ({"weights": "even"}, "fusion.weights"),
        ({"self_retrieval": (0.0, 0.0)}, "fusion.self_retrieval"),
        ({"self_retrieval": (0.9, 1.1)}, "fusion.self_retrieval"),
        ({"self_retrieval": (0.9,)}, "fusion.self_retrieval"),
        ({"branch_quality": (0.5, -0.1)}, "fusion.branch_quality"),
        ({"method": "dbsf", "weights": (1.0, 1.0)}, "fusion.weights"),
        ({"method": "dbsf", "branch_quality": (0.5, 0.6)}, "fusion.branch_quality"),
    ],
)
def test_a_wrong_fusion_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{named}: "):
        Fusion(**wrong)


def test_a_configuration_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"fusion\.method"):
        Fusion("borda")  # type: ignore[arg-type]  # what an untyped caller may do


def test_shares_weigh_both_branches_alike_by_default() -> None:
    assert branch_weights.prior(Fusion()) == (0.5, 0.5)


@given(st.floats(0, 1e6), st.floats(1e-6, 1e6))
def test_shares_sum_to_one_in_the_proportion_of_the_weights(bm25: float, dense: float) -> None:
    first, second = branch_weights.prior(Fusion(weights=(bm25, dense)))
    assert first + second == pytest.approx(1)
    assert first * dense == pytest.approx(second * bm25)
