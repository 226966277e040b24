"""What a caller's request asks for, and why some are passed through: pure functions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vecdb_rerank_opensearch import request_reader
from vecdb_rerank_opensearch.filter_path import first_missing
from vecdb_rerank_opensearch.request_reader import Request, deepen_request, projection, read

MATCH = {"match": {"text": "honey bees"}}
BODY: dict[str, Any] = {"query": MATCH, "size": 5}
PATHS = ("title", "meta.summary")
BY_PLACE = {"hybrid": {"queries": [MATCH], "pagination_depth": 20}}


@pytest.mark.parametrize("body", [BODY, json.dumps(BODY), json.dumps(BODY).encode()], ids=type)
def test_a_body_may_come_as_json(body: Any) -> None:
    assert request_reader.parsed(body) == BODY


def test_no_body_is_an_empty_one_and_no_json_is_none() -> None:
    assert request_reader.parsed(None) == {}
    for body in ("{", b"\xff", "[1]", "", 7, ["x"]):
        assert request_reader.parsed(body) is None


def test_named_arguments_win_over_params() -> None:
    url = request_reader.url_arguments(
        {"size": 3, "from_": 2}, {"size": 5, "routing": None, "q": "bees"}
    )
    assert url == {"size": 5, "from": 2, "q": "bees"}


def test_the_url_wins_over_the_body() -> None:
    def effective(**url: Any) -> Any:
        return Request(BODY, url).effective

    assert effective(routing="x") is BODY
    over = {"size": "7", "from": 2, "sort": "x"}
    assert effective(**over) == {**BODY, **over}
    assert effective(q="wasps")["query"] == {"query_string": {"query": "wasps"}}
    assert BODY == {"query": MATCH, "size": 5}


def obstacle(body: Any, url: Any = None) -> str | None:
    return read(Request(body, url or {}), PATHS, 50).obstacle


@pytest.mark.parametrize(
    "sort",
    [
        None,
        [],
        "_score",
        "_score:desc",
        ["_score"],
        {"_score": "desc"},
        [{"_score": {"order": "desc"}}],
        [{"_score": {}}],
    ],
    ids=repr,
)
def test_a_sort_by_score_is_what_is_reranked(sort: Any) -> None:
    assert obstacle({**BODY, "sort": sort}) is None


@pytest.mark.parametrize(
    ("body", "url", "reason"),
    [
        ({"sort": "year"}, {}, "sort: "),
        ({"sort": "_doc"}, {}, "sort: "),
        ({"sort": ["_score", "year"]}, {}, "sort: "),
        ({"sort": [{"_score": "asc"}]}, {}, "sort: "),
        ({"sort": [{"_score": {"order": "asc"}}]}, {}, "sort: "),
        ({"sort": "_score,year"}, {}, "sort: "),
        ({"sort": {"year": {"order": "desc"}}}, {}, "sort: "),
        ({"search_after": [1.5, "a"]}, {}, "search_after: "),
        ({"pit": {"id": "x"}}, {}, "pit: "),
        ({"slice": {"id": 0, "max": 2}}, {}, "slice: "),
        ({"size": 0, "aggs": {}}, {}, "size: 0"),
        ({"size": -3}, {}, "from, size: "),
        ({"from": "x"}, {}, "from, size: "),
        ({"stored_fields": "_none_"}, {}, "stored_fields: "),
        ({"stored_fields": ["_none_"]}, {}, "stored_fields: "),
        ({"from": -1}, {}, "from, size: "),
        ({"size": "0"}, {}, "size: 0"),
        ({"size": [5]}, {}, "from, size: "),
        ({"script_fields": {"title": {"script": "1"}}}, {}, "script_fields: title"),
        ({"_source": False, "script_fields": {"meta.summary.x": {}}}, {}, "script_fields: meta"),
        ({"query": {"hybrid": {"queries": [MATCH]}}, "from": 5}, {}, "hybrid: "),
        ({"rescore": {"window_size": 5}}, {}, "rescore: "),
        ({"_source": False, "docvalue_fields": ["title.raw"]}, {}, "docvalue_fields: "),
        ({"_source": False}, {"docvalue_fields": "year,meta.summary.raw"}, "docvalue_fields: "),
        ({}, {"scroll": "5m"}, "scroll: "),
        ({}, {"source": "{}"}, "source: "),
        ({}, {"format": "yaml"}, "format: "),
    ],
    ids=repr,
)
def test_what_is_passed_through_says_why(
    body: dict[str, Any], url: dict[str, Any], reason: str
) -> None:
    found = obstacle({**BODY, **body}, url)
    assert found is not None
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (BODY, {"format": "json", "routing": "x"}),
        ({**BODY, "collapse": {"field": "year"}}, {}),
        ({**BODY, "min_score": 1.0, "aggs": {"a": {}}, "highlight": {}}, {}),
        ({**BODY, "rescore": [], "explain": True, "profile": True}, {}),
        ({"query": BY_PLACE, "from": 5}, {}),
        ({**BODY, "stored_fields": ["year"], "search_after": None}, {}),
        ({**BODY, "docvalue_fields": ["title.raw"]}, {}),
        ({**BODY, "_source": False, "docvalue_fields": ["title", "year"]}, {}),
        ({**BODY, "_source": True, "script_fields": {"title": {"script": "1"}}}, {}),
        ({**BODY, "script_fields": {"age": {"script": "1"}}}, {}),
    ],
)
def test_all_else_is_reranked(body: dict[str, Any], url: dict[str, Any]) -> None:
    assert obstacle(body, url) is None


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({}, {}),
        ({"_source": True}, {"_source": "true"}),
        ({"stored_fields": ["year"], "_source": True}, {}),
        ({}, {"filter_path": "hits.hits"}),
        ({}, {"filter_path": ["hits.hits._source"]}),
        ({}, {"filter_path": "hits.hits._source.title,hits.**.summary"}),
    ],
)
def test_a_whole_source_has_the_text(body: dict[str, Any], url: dict[str, Any]) -> None:
    assert not projection(Request(body, url), PATHS).parts


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({"_source": False}, {}),
        ({"_source": ["title", "meta"]}, {}),
        ({"_source": {"excludes": ["dense"]}}, {}),
        ({}, {"_source": "title"}),
        ({}, {"_source": "false"}),
        ({}, {"_source_includes": "title"}),
        ({}, {"_source_excludes": ["dense"]}),
        ({"stored_fields": ["year"]}, {}),
        ({}, {"filter_path": "hits.hits._source.title"}),
        ({}, {"filter_path": "-hits.hits._source.meta"}),
    ],
)
def test_a_narrowed_source_may_lack_the_text(body: dict[str, Any], url: dict[str, Any]) -> None:
    parts = projection(Request(body, url), PATHS).parts
    assert parts == {"fields": ["title", "title.*", "meta.summary", "meta.summary.*", "meta"]}


@pytest.mark.parametrize(
    ("filter_path", "source", "shown"),
    [
        (None, True, True),
        ("hits", False, True),
        ("hits.hits._id,hits.hits._score,hits.hits._source", True, True),
        ("hits.hits._id,hits.hits._score,hits.hits._source", False, False),
        ("hits.hits._id,hits.hits._score,hits.hits.fields", False, True),
        ("hits.hits._id,hits.hits._score,hits.hits.fields", True, True),
        ("hits.hits._source,hits.hits._id", True, False),
        ("hits.total", True, False),
        ("-hits.hits._source", False, True),
        ("-took,-_shards", True, True),
        (["took", "hits.hits.*"], True, True),
    ],
)
def test_what_filter_path_hides(filter_path: Any, source: bool, shown: bool) -> None:
    reason = obstacle({**BODY, "_source": source}, {"filter_path": filter_path})
    assert (reason is None) is shown
    assert shown or (reason or "").startswith("filter_path: hides hits.hits.")


def test_answers_of_an_msearch_need_their_status() -> None:
    def needed(filter_path: str) -> str | None:
        request = Request.of_many(BODY, {"filter_path": filter_path})
        return read(request, PATHS, 50).obstacle

    assert needed("responses.hits,responses.status") is None
    assert needed("responses") is None
    assert str(needed("responses.hits")).startswith("filter_path: hides responses.status")
    assert str(needed("hits")).startswith("filter_path: ")


@pytest.mark.parametrize(
    ("body", "url", "deep"),
    [
        ({"size": 5}, {}, {"size": 50}),
        ({"size": 60}, {}, {"size": 60}),
        ({}, {"size": 60}, {}),
        ({"size": 70}, {"size": "5", "from": 3}, {"size": 50}),
        ({"size": 5}, {"from": 60}, {"size": 5}),
        (None, {}, {"size": 50}),
    ],
)
def test_the_page_of_the_url_moves_into_a_deeper_body(body: Any, url: Any, deep: Any) -> None:
    request = Request(body, url)
    assert deepen_request(request, read(request, PATHS, 50), 50) == deep


@pytest.mark.parametrize(
    ("filter_path", "path", "there"),
    [
        ("a.b", "a.b.c", True),
        ("a.b.c", "a.b", False),
        ("a.*.c", "a.b.c", True),
        ("**.c", "a.b.c", True),
        ("**", "a.b", True),
        ("**.d", "a.b.c", False),
        ("a.b*", "a.bcd.c", True),
        ("-a.b", "a.b.c", False),
        ("-a.b.c", "a.b", False),
        ("-**.b", "a.b", False),
        ("-**.x", "a.b", True),
        ("a,-a.b", "a.c", True),
        ("a,-a.b", "a.b", False),
        ("", "a", True),
    ],
)
def test_patterns_of_filter_path(filter_path: str, path: str, there: bool) -> None:
    assert first_missing(filter_path, [path]) == (None if there else path)


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        (MATCH, "bm25"),
        (None, "bm25"),
        ({"knn": {"dense": {"vector": [1], "k": 1}}}, "dense"),
        ({"bool": {"should": [MATCH, {"neural": {"dense": {}}}]}}, "dense"),
        ({"hybrid": {"queries": [MATCH]}}, "hybrid"),
    ],
)
def test_kinds_of_searches(query: Any, mode: str) -> None:
    assert read(Request({"query": query}, {}), PATHS, 50).mode == mode


KNN = {"query": {"knn": {"dense": {"vector": [1], "k": 3}}}}


def test_neighbours_end_the_pages() -> None:
    assert read(Request(KNN, {}), PATHS, 50).available == 3
    info = read(Request({**KNN, "from": 2}, {}), PATHS, 50)
    assert (info.offset, info.limit, info.notes) == (2, 1, {})


@pytest.mark.parametrize(
    ("request_", "one_shard"),
    [
        (Request(KNN, {}), False),
        (Request(KNN, {"filter_path": "hits"}), True),  # the shards cannot be counted
        (Request.of_many(KNN, {"filter_path": "responses.hits,responses.status"}), True),
        (Request({"query": {"bool": {"should": [MATCH, KNN["query"]]}}}, {}), True),
        (Request({**KNN, "from": 5}, {}), True),
    ],
)
def test_where_a_total_cannot_be_derived_neighbours_stay(
    request_: Request, one_shard: bool
) -> None:
    info = read(request_, PATHS, 50, one_shard=one_shard)
    assert info.obstacle is None
    assert info.available is None
    assert info.limit == 10
    assert "keeps its k of 3" in info.notes["own_depth"]
    assert deepen_request(request_, info, 50)["query"] == (request_.body or {})["query"]


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ({**BODY, "from": 30}, "own"),
        ({**BODY, "search_pipeline": {"response_processors": [{"truncate_hits": {}}]}}, "window"),
    ],
)
def test_with_its_own_depth_the_page_is_the_window(body: Any, depth: Any) -> None:
    request = Request(body, {"from": 70})
    info = read(request, PATHS, 50, depth)
    assert (info.own_depth, info.offset, info.limit) == (True, 0, 5)
    assert deepen_request(request, info, 50) is body
