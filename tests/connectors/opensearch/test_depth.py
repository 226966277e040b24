"""Bodies made as deep as the window, and the text that is found in them: pure functions."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vecdb_rerank_opensearch.depth import Page, deepen, keeps_own_depth
from vecdb_rerank_opensearch.request_reader import query_texts

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
        ({"from": 50, "size": 10}, {"from": 50, "size": 10}),  # OpenSearch pages on by itself
        ({"from": 5, "size": 0}, {"size": 50}),
        ({"from": "5", "size": "7"}, {"size": 50}),
        ({"from": 45, "size": 10, "rescore": [{}]}, {"rescore": [{}], "size": 50}),
        ({"from": 60, "size": 10, "rescore": [{}]}, {"rescore": [{}], "size": 50}),
        ({"size": 70, "rescore": [{}]}, {"rescore": [{}], "size": 70}),
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
        {"size": 60, "query": hybrid(MATCH, knn(50), pagination_depth=50)},
        {"from": 60, "query": hybrid(MATCH, knn(50), pagination_depth=70)},
        {"size": 50, "query": knn(10), "aggs": {"a": {}}},
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


# -- branches


@pytest.mark.parametrize(
    "inside",
    [
        lambda q: q,
        lambda q: {"bool": {"must": [MATCH, q]}},
        lambda q: {"bool": {"should": q}},
        lambda q: {"nested": {"path": "chunks", "query": q}},
        lambda q: {"function_score": {"query": q, "boost": 2}},
        lambda q: {"script_score": {"query": q, "script": {"source": "1"}}},
        lambda q: {"dis_max": {"queries": [MATCH, q]}},
        lambda q: {"boosting": {"positive": q, "negative": MATCH, "negative_boost": 0.5}},
        lambda q: {"bool": {"must": {"bool": {"should": [q]}}}},
    ],
)
def test_vectors_look_for_as_many_neighbours_wherever_they_score(inside: Any) -> None:
    body = {"query": inside(knn(10, filter=MATCH))}
    before = copy.deepcopy(body)
    assert deepen(body, K) == {"query": inside(knn(50, filter=MATCH)), "size": 50}
    assert body == before


@pytest.mark.parametrize(
    "query",
    [
        {"bool": {"must": [MATCH], "filter": [knn(10)]}},
        {"bool": {"must": [MATCH], "must_not": knn(10)}},
        knn(10, filter=knn(5)) | {"knn": {"dense": {"vector": [1.0], "k": 60, "filter": knn(5)}}},
        {"knn": {"dense": {"vector": [1.0], "min_score": 0.5}}},
        {"neural": {"dense": {"query_text": "q", "max_distance": 2.0}}},
        {"neural_sparse": {"tokens": {"query_text": "q"}}},
        {"match": {"knn": "a field of that name"}},
        {"knn": None},
        "no query at all",
    ],
    ids=repr,
)
def test_what_says_which_hits_there_are_is_left_alone(query: Any) -> None:
    assert deepen({"query": query}, K) == {"query": query, "size": 50}


def test_a_neural_query_looks_for_as_many_neighbours() -> None:
    for vector in ({"query_text": "q"}, {"query_text": "q", "k": 5}):
        deep = {"neural": {"dense": {"query_text": "q", "k": 50}}}
        assert deepen({"query": {"neural": {"dense": vector}}}, K)["query"] == deep


@pytest.mark.parametrize(
    ("page", "given", "depth"),
    [
        ({}, None, 50),
        ({"from": 20}, None, 50),
        ({"from": 20, "size": 70}, None, 70),  # as deep as the first page of that size is
        ({"size": 70}, None, None),
        ({}, 20, 50),
        ({}, 80, 80),
        ({"from": 60}, 20, 50),
    ],
)
def test_a_hybrid_query_is_as_deep_on_every_page(
    page: dict[str, Any], given: int | None, depth: int | None
) -> None:
    depths = {} if given is None else {"pagination_depth": given}
    wide = deepen({**page, "query": hybrid(MATCH, knn(60), **depths)}, K)
    assert wide["query"]["hybrid"].get("pagination_depth") == depth


def test_every_branch_of_a_hybrid_query_is_widened() -> None:
    body = {"query": hybrid(MATCH, knn(3), {"bool": {"must": knn(7)}})}
    wide = deepen(body, K)["query"]
    assert wide == hybrid(MATCH, knn(50), {"bool": {"must": knn(50)}}, pagination_depth=50)


@pytest.mark.parametrize("name", ["aggs", "aggregations"])
@pytest.mark.parametrize("query", [knn(10), hybrid(pagination_depth=10)])
def test_branches_stay_as_they_are_under_aggregations(name: str, query: Any) -> None:
    body = {"query": query, name: {"a": {"terms": {"field": "x"}}}}
    assert deepen(body, K) == {**body, "size": 50}
    assert keeps_own_depth(body, K)
    assert not keeps_own_depth({"query": query}, K)
    assert not keeps_own_depth({"query": MATCH, name: {"a": {}}}, K)


def test_pages_inside_the_window_are_one_request() -> None:
    query = hybrid(MATCH, knn(), pagination_depth=20)
    wide = [deepen({"query": query, "from": n, "size": 7}, 500) for n in range(0, 493, 7)]
    assert all(one == wide[0] for one in wide)


# -- texts


@pytest.mark.parametrize(
    "query",
    [
        {"match": {"text": "bees"}},
        {"match": {"text": {"query": " bees "}}},
        {"match_phrase": {"text": "bees"}},
        {"match_phrase_prefix": {"text": {"query": "bees", "slop": 1}}},
        {"match_bool_prefix": {"text": "bees"}},
        {"multi_match": {"query": "bees", "fields": ["title^2", "text"]}},
        {"query_string": {"query": "bees", "default_field": "text"}},
        {"simple_query_string": {"query": "bees"}},
        {"neural": {"dense": {"query_text": "bees", "k": 5}}},
        {"neural_sparse": {"tokens": {"query_text": "bees"}}},
        {"hybrid": {"queries": [{"match": {"text": "bees"}}, knn()]}},
        {"bool": {"must": {"match": {"text": "bees"}}, "filter": {"match": {"lang": "en"}}}},
        {"bool": {"should": [{"match": {"title": "bees"}}, {"match": {"text": "bees"}}]}},
        {"bool": {"must": [{"match": {"year": 2024}}, {"match": {"text": "bees"}}]}},
        {"nested": {"path": "c", "query": {"match": {"c.text": "bees"}}}},
        {"function_score": {"query": {"match": {"text": "bees"}}, "functions": []}},
    ],
    ids=repr,
)
def test_the_text_is_that_of_the_clauses(query: Any) -> None:
    assert query_texts({"query": query}) == ("bees",)


@pytest.mark.parametrize(
    "query",
    [
        None,
        {"match_all": {}},
        knn(),
        {"term": {"text": "bees"}},
        {"match": {"text": "  "}},
        {"match": {"year": 2024}},
        {"match": None},
        {"bool": {"must": [{"match": {"text": "bees"}}, {"match": {"text": "wasps"}}]}},
        {"bool": {"filter": {"match": {"text": "bees"}}}},
        {"bool": {"must_not": {"match": {"text": "bees"}}}},
        {"neural": {"dense": {"query_image": "aGk="}}},
        {"hybrid": {"queries": [{"match": {"text": "a"}}, {"neural": {"v": {"query_text": "b"}}}]}},
    ],
    ids=repr,
)
def test_no_text_or_two_of_them(query: Any) -> None:
    assert len(query_texts({"query": query})) != 1


LONG = {"query": {"bool": {"must": [{"match": {"meta.text": {"query": "bees"}}}]}}}
SHORT = {"query": {"bool": {"must": {"match": {"meta.text": "bees"}}}}}


@pytest.mark.parametrize(
    ("body", "context", "text"),
    [
        (LONG, {"query_text": "wasps"}, "wasps"),
        ({"query": knn()}, {"query_text": "wasps"}, "wasps"),
        (LONG, {"query_text_path": "query.bool.must.0.match.meta.text.query"}, "bees"),
        (SHORT, {"query_text_path": "query.bool.must.0.match.meta.text.query"}, "bees"),
        (SHORT, {"query_text_path": "query.bool.must.match.meta.text"}, "bees"),
        (LONG, {"query_text_path": "query.bool.must.7.match"}, None),
        (LONG, {"query_text_path": "query.bool.should"}, None),
        (LONG, {"query_text_path": ""}, None),
        (LONG, {"query_text": 7}, None),
        (LONG, {}, None),
    ],
)
def test_what_the_servers_reranker_is_told_comes_first(
    body: dict[str, Any], context: dict[str, Any], text: str | None
) -> None:
    texts = query_texts({**body, "ext": {"rerank": {"query_context": context}}})
    assert texts == (() if text is None else (text,))


def test_an_ext_that_is_not_reranks_says_nothing() -> None:
    assert query_texts({**LONG, "ext": {"rerank": {}}}) == ("bees",)
    assert query_texts({**LONG, "ext": None}) == ("bees",)
