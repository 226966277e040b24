"""Scores that are more than relevance: which orders are the caller's own."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vecdb_rerank_opensearch.composed_order import reason

TEXT = "honey bees"
MATCH: dict[str, Any] = {"match": {"text": TEXT}}
KNN = {"knn": {"dense": {"vector": [0.6, 0.8], "k": 5}}}
TERM: dict[str, Any] = {"term": {"kind": {"value": "faq", "boost": 9}}}


def why(query: Any = MATCH, **body: Any) -> str | None:
    return reason({"query": query, **body}, [TEXT])


def scripted(**script: Any) -> dict[str, Any]:
    return {"script_score": {"query": {"match_all": {}}, "script": script}}


@pytest.mark.parametrize(
    "query",
    [
        {"function_score": {"query": MATCH, "functions": [{"weight": 3, "filter": TERM}]}},
        {"function_score": {"query": MATCH, "random_score": {}}},
        {"function_score": {"query": MATCH, "gauss": {"date": {"origin": "now"}}}},
        scripted(source="_score * doc['likes'].value"),
        scripted(id="stored"),
        scripted(source="cosineSimilarity(params.v, doc['v']) * doc['likes'].value"),
        {"boosting": {"positive": MATCH, "negative": TERM, "negative_boost": 0.1}},
        {"bool": {"must": MATCH, "should": [TERM]}},
        {"bool": {"must": MATCH, "should": {"ids": {"values": ["7"], "boost": 100}}}},
        {"bool": {"should": [MATCH, {"exists": {"field": "picture"}}]}},
        {"bool": {"should": [MATCH, {"constant_score": {"filter": MATCH, "boost": 5}}]}},
        {"bool": {"must": [{"bool": {"should": [MATCH, {"range": {"year": {"gte": 2020}}}]}}]}},
        {"bool": {"should": [MATCH, {"bool": {"must": TERM}}]}},
        {"bool": {"must": [MATCH, {"rank_feature": {"field": "pagerank"}}]}},
        {"bool": {"must": MATCH, "should": {"distance_feature": {"field": "date"}}}},
        {"dis_max": {"queries": [MATCH, TERM]}},
        {"hybrid": {"queries": [MATCH, TERM]}},
        {
            "hybrid": {
                "queries": [
                    MATCH,
                    {
                        "function_score": {
                            "query": KNN,
                            "boost_mode": "sum",
                            "field_value_factor": {},
                        }
                    },
                ]
            }
        },
        {"nested": {"path": "c", "query": {"bool": {"must": MATCH, "should": [TERM]}}}},
        {"pinned": {"ids": ["1"], "organic": MATCH}},
        {"sltr": {"model": "m"}},
        {"more_like_this": {"like": [{"_id": "3"}]}},
        {"percolate": {"field": "query", "document": {}}},
    ],
    ids=repr,
)
def test_an_order_that_is_composed_is_the_callers(query: Any) -> None:
    assert why(query) is not None


@pytest.mark.parametrize(
    "body",
    [
        {"rescore": {"window_size": 5, "query": {"rescore_query": MATCH}}},
        {"rescore": [{"window_size": 5}]},
        {"indices_boost": [{"new-*": 2.0}]},
        {"search_pipeline": {"response_processors": [{"personalize_search_ranking": {}}]}},
    ],
    ids=repr,
)
def test_so_is_one_that_is_composed_beside_the_query(body: Any) -> None:
    assert why(**body) is not None


@pytest.mark.parametrize(
    "query",
    [
        MATCH,
        KNN,
        None,
        {"match_all": {}},
        {"bool": {"must": [MATCH, TERM]}},  # the same for each hit
        {"bool": {"must": [MATCH, {"constant_score": {"filter": TERM, "boost": 5}}]}},
        {"bool": {"must": MATCH, "filter": TERM, "must_not": TERM}},
        {"bool": {"should": [MATCH, KNN]}},
        {"bool": {"should": [MATCH, {"match_phrase": {"text": {"query": TEXT, "boost": 3}}}]}},
        {"bool": {"should": [MATCH, {"term": {"title.raw": TEXT}}]}},  # the text itself
        {"bool": {"should": [MATCH, {"wildcard": {"title.raw": {"value": "*Honey bees*"}}}]}},
        {"bool": {"should": [TERM]}},
        {"bool": {"must": MATCH, "should": {"match_all": {}}}},
        {"dis_max": {"queries": [MATCH, {"multi_match": {"query": TEXT, "fields": ["title^3"]}}]}},
        {"hybrid": {"queries": [MATCH, KNN, {"neural_sparse": {"v": {"query_text": TEXT}}}]}},
        {"function_score": {"query": MATCH, "boost": 2, "functions": []}},
        {"more_like_this": {"like": TEXT}},
        scripted(source="knn_score", lang="knn", params={"field": "dense"}),
        scripted(source="1.0 + cosineSimilarity(params.query_value, doc[params.field])"),
        scripted(source="1.0/(1 + l2Squared(params.v, doc['v']))"),
        {"wrapper": {"query": base64.b64encode(b"{}").decode()}},
    ],
    ids=repr,
)
def test_relevance_to_a_text_or_vector_is_reranked(query: Any) -> None:
    assert why(query) is None
