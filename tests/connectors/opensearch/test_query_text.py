"""The text that is found in a body."""

from __future__ import annotations

from typing import Any

import pytest

from vecdb_rerank_opensearch.query_text import query_texts

WORD = {"match": {"query": "bees"}}


def knn() -> dict[str, Any]:
    return {"knn": {"dense": {"vector": [0.6, 0.8], "k": 10}}}


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
        {"combined_fields": {"query": "bees", "fields": ["title", "text"]}},
        {"intervals": {"text": {"match": {"query": "bees", "filter": {"not_containing": {}}}}}},
        {"intervals": {"text": {"all_of": {"intervals": [{"match": {"query": "bees"}}]}}}},
        {"intervals": {"text": {"any_of": {"intervals": [{"match": {"query": "bees"}}, WORD]}}}},
        {"more_like_this": {"like": "bees", "fields": ["text"]}},
        {"more_like_this": {"like": ["bees", {"_id": "3"}]}},
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
        {"intervals": {"text": {"prefix": {"prefix": "be"}}}},
        {"intervals": {"text": {"all_of": {"intervals": [WORD, {"match": {"query": "wasp"}}]}}}},
        {"more_like_this": {"like": [{"_id": "3"}]}},
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
