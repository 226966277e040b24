"""Filters of callers who are not trusted."""

from __future__ import annotations

from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_opensearch.caller_filter import combined

TERM: dict[str, Any] = {"term": {"kind": "faq"}}
SCRIPT = {"source": "doc['price'].value > 3"}
SHAPE = {"relation": "within", "shape": {"type": "point", "coordinates": [1, 2]}}
OTHER_SHAPE = {"indexed_shape": {"index": "places", "id": "berlin", "path": "area"}}


@pytest.mark.parametrize(
    "given",
    [
        TERM,
        [TERM, {"exists": {"field": "script"}}],
        {"term": {"script": {"value": "latin", "case_insensitive": True}}},
        {"terms": {"script": ["latin", "greek"], "boost": 2}},
        {"terms_set": {"tags": {"terms": ["a"], "minimum_should_match_field": "needed"}}},
        {"range": {"year": {"gte": 2020, "lt": "now/d"}}},
        {"bool": {"should": [TERM, {"bool": {"must_not": TERM}}], "minimum_should_match": "50%"}},
        {"nested": {"path": "c", "query": {"match": {"c.d": {"query": "x", "operator": "and"}}}}},
        {"has_child": {"type": "answer", "query": TERM}},
        {"query_string": {"query": "title:(a OR b)", "fields": ["title^2"]}},
        {"geo_distance": {"distance": "3km", "place": {"lat": 1, "lon": 2}}},
        {"geo_shape": {"area": SHAPE}},
        {"match_all": {}},
        {"ids": {"values": ["1"]}},
    ],
)
def test_filters_that_read_the_searched_documents_pass(given: Any) -> None:
    assert combined(given) == (given if isinstance(given, list) else [given])


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"script": {"script": SCRIPT}}, "script"),
        ({"script_score": {"query": TERM, "script": SCRIPT}}, "script_score"),
        ({"function_score": {"query": TERM, "script_score": SCRIPT}}, "function_score"),
        ({"bool": {"must": [TERM, {"bool": {"should": {"script": {}}}}]}}, "should.script"),
        ({"nested": {"path": "a", "query": {"script": {"script": SCRIPT}}}}, "query.script"),
        ({"nested": {"path": "a", "query": TERM, "inner_hits": {}}}, "inner_hits"),
        ({"terms": {"id": {"index": "users", "id": "1", "path": "ids"}}}, "terms.id"),
        ({"terms": {"id": [{"index": "users"}]}}, "terms.id"),
        (
            {"terms_set": {"t": {"terms": ["a"], "minimum_should_match_script": "1"}}},
            "minimum_should_match_script",
        ),
        ({"percolate": {"field": "q", "index": "docs", "id": "1"}}, "percolate"),
        ({"more_like_this": {"like": [{"_index": "users", "_id": "1"}]}}, "more_like_this"),
        ({"wrapper": {"query": "eyJzY3JpcHQiOnt9fQ=="}}, "wrapper"),
        ({"template": {"source": "{}"}}, "template"),
        ({"neural": {"dense": {"query_text": "a", "model_id": "m"}}}, "neural"),
        ({"geo_shape": {"area": OTHER_SHAPE}}, "indexed_shape"),
        ({"geo_shape": {"area": {"shape": {"geometries": [OTHER_SHAPE]}}}}, "indexed_shape"),
        ({"intervals": {"text": {"match": {"query": "a", "filter": {"script": SCRIPT}}}}}, "inter"),
        ({"term": {"kind": {"value": "faq", "_name": "vecdb_rerank.after.0"}}}, "_name"),
        ({"bool": {"must": TERM, "_name": "mine"}}, "_name"),
        ({"match": {"text": {"query": {"source": "x"}}}}, "match.text.query"),
        ({"term": {"kind": "faq"}, "match_all": {}}, "filter"),
        ({"bool": [TERM]}, "filter.bool"),
        ([[TERM]], "filter.0"),
        ("kind:faq", "filter"),
    ],
)
def test_filters_that_reach_further_are_refused(given: Any, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        combined(given)
    assert caught.value.key.startswith("filter")
    assert key in caught.value.key


def test_both_filters_have_to_match_and_the_required_one_is_trusted() -> None:
    required = {"script": {"script": SCRIPT}}
    assert combined({"bool": {"should": [{"match_all": {}}]}}, required) == [
        required,
        {"bool": {"should": [{"match_all": {}}]}},
    ]
    assert combined(None, [required, TERM]) == [required, TERM]
    assert combined(None) is None


@pytest.mark.parametrize("join", ["has_child", "has_parent", "parent_id"])
def test_joins_do_not_reach_past_a_required_filter(join: str) -> None:
    with pytest.raises(ConfigurationError, match=join):
        combined({"bool": {"filter": {join: {"type": "a", "query": TERM}}}}, TERM)
