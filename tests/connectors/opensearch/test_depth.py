"""Bodies made as deep as the window, without changing which hits there are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vecdb_rerank_opensearch.depth import (
    Page,
    available,
    deepen,
    kept,
    shards,
    with_total_at_most,
)

K = 50
MATCH = {"match": {"text": "honey bees"}}


def knn(k: int = 10, **rest: Any) -> dict[str, Any]:
    return {"knn": {"dense": {"vector": [0.6, 0.8], "k": k, **rest}}}


def hybrid(*queries: Any, **rest: Any) -> dict[str, Any]:
    return {"hybrid": {"queries": list(queries) or [MATCH, knn()], **rest}}


# -- size and from


@pytest.mark.parametrize(
    ("body", "page"),
    [
        ({}, {"size": 50}),
        ({"size": 1}, {"size": 50}),
        ({"from": 20, "size": 10}, {"size": 50}),
        ({"from": 40, "size": 10}, {"size": 50}),
        ({"from": 45, "size": 10}, {"size": 55}),  # the page goes on past the window
        ({"from": 0, "size": 50}, {"from": 0, "size": 50}),
        ({"size": 1000}, {"size": 1000}),
        ({"from": 10, "size": 1000}, {"size": 1010}),
        ({"from": 50, "size": 10}, {"from": 50, "size": 10}),  # OpenSearch continues there
        ({"from": 5, "size": 0}, {"size": 50}),
        ({"from": "5", "size": "7"}, {"size": 50}),
        ({"size": 10, "rescore": [{}]}, {"size": 10, "rescore": [{}]}),  # another order
    ],
    ids=repr,
)
def test_the_page_becomes_the_window(body: dict[str, Any], page: dict[str, Any]) -> None:
    assert deepen(body, K) == page


@pytest.mark.parametrize(
    "body",
    [
        {"size": 50},
        {"size": 1000, "query": MATCH},
        {"from": 50, "query": MATCH},
        {"size": 60, "query": knn(60)},
        {"size": 60, "query": hybrid(MATCH, knn(50))},
        {"size": 60, "query": hybrid(MATCH, knn(3), pagination_depth=20)},
        {"from": 60, "query": hybrid(MATCH, knn(50), pagination_depth=20)},
        {"from": 60, "query": knn(10)},
        {"size": 50, "query": knn(10), "aggs": {"a": {}}},
        {"size": 50, "query": {"bool": {"must": [knn(10)]}}},
        {"size": 5, "search_pipeline": {"response_processors": [{"truncate_hits": {}}]}},
        {"size": 5, "search_pipeline": {"response_processors": [{"collapse": {}}]}},
        {"size": 5, "search_pipeline": {"request_processors": [{"oversample": {}}]}},
    ],
    ids=repr,
)
def test_a_body_that_is_deep_enough_is_given_back_itself(body: dict[str, Any]) -> None:
    assert deepen(body, K) is body


@pytest.mark.parametrize("body", [{"size": -1}, {"from": -5}, {"size": "many"}, {"size": [1]}])
def test_a_page_that_is_none_is_an_error(body: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        deepen(body, K)


def test_a_page_says_where_it_ends() -> None:
    assert Page.of({"from": 5}) == Page(5, 10)
    assert Page(5, 10).end == 15


def test_with_its_own_depth_a_body_is_never_deeper() -> None:
    for body in ({}, {"query": knn(3), "from": 2}, {"query": hybrid()}):
        assert deepen(body, K, "own") is body


# -- branches


@pytest.mark.parametrize("clause", ["knn", "neural"])
def test_a_vector_that_is_the_whole_query_looks_for_more_neighbours(clause: str) -> None:
    body = {"query": {clause: {"dense": {"vector": [0.6], "k": 3, "filter": knn(2)}}}}
    before = copy.deepcopy(body)
    deep = {"query": {clause: {"dense": {"vector": [0.6], "k": 50, "filter": knn(2)}}}, "size": 50}
    assert deepen(body, K) == deep
    assert deepen(body, K, one_shard=False) == {**body, "size": 50}
    assert available(body, K) == 3
    assert kept(body, K) is None
    assert str(kept(body, K, one_shard=False)).startswith(f"{clause} keeps its k of 3")
    assert body == before


def test_a_neural_query_without_a_k_looks_for_ten_neighbours() -> None:
    body = {"query": {"neural": {"dense": {"query_text": "q"}}}}
    assert available(body, K) == 10
    assert deepen(body, K)["query"]["neural"]["dense"]["k"] == 50


@pytest.mark.parametrize(
    "inside",
    [
        lambda q: {"bool": {"must": [MATCH, q]}},
        lambda q: {"bool": {"must": q}},
        lambda q: {"nested": {"path": "chunks", "query": q}},
        lambda q: {"dis_max": {"queries": [MATCH, q]}},
        lambda q: {"hybrid": {"queries": [MATCH, q], "pagination_depth": 60}},
    ],
)
def test_a_vector_beside_other_clauses_keeps_its_neighbours(inside: Any) -> None:
    """The total of a deeper request does not imply that of the caller's."""
    body = {"query": inside(knn(3))}
    assert deepen(body, K) == {**body, "size": 50}
    assert available(body, K) is None
    assert "keeps its k of 3" in str(kept(body, K))


@pytest.mark.parametrize(
    "beside",
    [
        {"aggs": {"a": {}}},
        {"aggregations": {"a": {}}},
        {"post_filter": MATCH},
        {"collapse": {"field": "x"}},
        {"terminate_after": 5},
        {"from": 3},
    ],
    ids=repr,
)
def test_neighbours_that_something_else_counts_stay(beside: dict[str, Any]) -> None:
    body = {"query": knn(3), **beside}
    assert deepen(body, K)["query"] == body["query"]
    assert available(body, K) is None
    assert kept(body, K)


@pytest.mark.parametrize("beside", [{"min_score": 0.5}, {"highlight": {}}, {"from": 2}])
def test_neighbours_that_are_only_shown_may_be_more(beside: dict[str, Any]) -> None:
    assert available({"query": knn(3), **beside}, K) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"bool": {"must": [MATCH], "filter": [knn(10)]}},
        {"bool": {"must": [MATCH], "must_not": knn(10)}},
        {"knn": {"dense": {"vector": [1.0], "k": 60, "filter": knn(5)}}},
        {"knn": {"dense": {"vector": [1.0], "min_score": 0.5}}},
        {"neural": {"dense": {"query_text": "q", "max_distance": 2.0}}},
        {"neural_sparse": {"tokens": {"query_text": "q"}}},
        {"match": {"knn": "a field of that name"}},
        {"knn": None},
        "no query at all",
    ],
    ids=repr,
)
def test_a_query_that_finds_enough_is_left_alone(query: Any) -> None:
    assert deepen({"query": query}, K) == {"query": query, "size": 50}
    assert kept({"query": query}, K) is None


@pytest.mark.parametrize(
    ("page", "given", "depth"),
    [({}, None, 50), ({"size": 70}, None, None), ({}, 20, 20), ({}, 80, 80), ({"from": 9}, 20, 20)],
)
def test_a_hybrid_query_without_a_depth_is_as_deep_as_the_window(
    page: dict[str, Any], given: int | None, depth: int | None
) -> None:
    depths = {} if given is None else {"pagination_depth": given}
    body = {**page, "query": hybrid(MATCH, knn(60), **depths)}
    assert deepen(body, K)["query"]["hybrid"].get("pagination_depth") == depth
    assert (kept(body, K) is not None) == (given == 20)


def test_pages_inside_the_window_are_one_request() -> None:
    query = hybrid(MATCH, knn(), pagination_depth=20)
    wide = [deepen({"query": query, "from": n, "size": 7}, 500) for n in range(0, 493, 7)]
    assert all(one == wide[0] for one in wide)


# -- responses


@pytest.mark.parametrize(
    ("total", "capped"),
    [
        ({"value": 20, "relation": "eq"}, {"value": 3, "relation": "eq"}),
        ({"value": 2, "relation": "eq"}, {"value": 2, "relation": "eq"}),
        (20, 3),
        (None, None),
    ],
)
def test_a_total_is_no_more_than_there_is(total: Any, capped: Any) -> None:
    response = {"took": 1, "hits": {"total": total, "hits": []}}
    before = copy.deepcopy(response)
    assert with_total_at_most(response, 3)["hits"]["total"] == capped
    assert with_total_at_most(response, None) == response == before


def test_a_response_says_on_how_many_shards_it_ran() -> None:
    assert shards({"_shards": {"total": 2}}) == 2
    assert shards({"_shards": {}}) is shards({}) is shards([]) is None
