"""Filters of boosts match the points that Qdrant's local mode finds by them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client.http import models
from qdrant_client.local.payload_filters import check_filter

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_qdrant.conditions import Conditions

KEY = "policy.after.0.filter"
values: Any = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 4), st.floats(-2, 4), st.sampled_from(["a", "b", "2"])
)
payloads = st.dictionaries(
    st.sampled_from(["x", "y", "a.b"]),
    st.one_of(values, st.lists(values, max_size=3), st.dictionaries(st.just("b"), values)),
)
keys = st.sampled_from(["x", "y", "a.b", "a", "x[]", '"a.b"'])
bounds = st.floats(-2, 4)
fields = st.one_of(
    st.builds(
        lambda key, value: {"key": key, "match": {"value": value}},
        keys,
        st.sampled_from(["a", 2, True]),
    ),
    st.builds(lambda key: {"key": key, "match": {"any": ["a", "b"]}}, keys),
    st.builds(lambda key: {"key": key, "match": {"except": ["a"]}}, keys),
    st.builds(lambda key, low: {"key": key, "range": {"gt": low, "lte": 3}}, keys, bounds),
    st.builds(lambda key: {"key": key, "values_count": {"gt": 1}}, keys),
    st.builds(lambda key: {"is_empty": {"key": key}}, keys),
    st.builds(lambda key: {"is_null": {"key": key}}, keys),
    st.builds(lambda ids: {"has_id": ids}, st.lists(st.integers(0, 3), max_size=2)),
)
filters = st.recursive(
    st.builds(
        lambda name, conditions: {name: conditions},
        st.sampled_from(["must", "should", "must_not"]),
        st.lists(fields, max_size=3),
    ),
    lambda inner: st.builds(lambda one, more: {**one, "should": [*more]}, inner, st.lists(inner)),
    max_leaves=4,
)


@given(filters, st.lists(payloads, max_size=4))
def test_the_points_that_match_are_those_of_the_client(
    asked: dict[str, Any], held: list[dict[str, Any]]
) -> None:
    points = [
        models.ScoredPoint(id=n, version=0, score=0.5, payload=payload)
        for n, payload in enumerate(held)
    ]
    native = models.Filter.model_validate(asked)
    expected = {p.id for p in points if check_filter(native, p.payload or {}, p.id, {})}
    assert Conditions.of({KEY: asked}).matching(points) == [expected]


def test_fields_of_a_filter_are_dotted_paths() -> None:
    nested = {"nested": {"key": "parts[]", "filter": {"must": [{"key": "n", "range": {"gt": 1}}]}}}
    given = {"must": [{"key": 'a[]."b c"', "match": {"value": 1}}, nested], "must_not": nested}
    assert Conditions.of({KEY: given}).fields == ("a.b c", "parts")


@pytest.mark.parametrize(
    ("condition", "clause"),
    [
        ({"key": "x", "match": {"text": "a"}}, "match.text"),
        ({"has_vector": "dense"}, "has_vector"),
        (
            {"nested": {"key": "x", "filter": {"must": [{"has_vector": "d"}]}}},
            "nested.filter.must.0.has_vector",
        ),
        ({"min_should": {}}, None),
    ],
)
def test_what_depends_on_the_server_is_named(condition: Any, clause: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Conditions.of({KEY: {"must": [{"must": [condition]}]}})
    if clause is not None:
        assert caught.value.key == f"{KEY}.must.0.must.0.{clause}"
    assert caught.value.key.startswith(KEY)
