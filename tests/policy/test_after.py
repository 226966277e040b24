"""Stages are checked when they are made, and named by their place in the list."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.after import (
    Boost,
    Bury,
    Decay,
    FieldSignal,
    MaxPer,
    Mmr,
    Pin,
)
from vecdb_rerank.policy.stages import extras
from vecdb_rerank.request import Extras

GOOD: list[dict[str, Any]] = [
    {"type": "boost", "filter": {"term": {"stock": True}}, "factor": 1.2},
    {"type": "boost", "filter": {"term": {"stock": True}}, "add": -0.1},
    {"type": "decay", "field": "published", "scale": "30d", "weight": 0.3},
    {"type": "decay", "field": "price", "scale": 20, "weight": 0.3, "origin": 0, "shape": "linear"},
    {"type": "decay", "field": "at", "scale": "5km", "weight": 0.3, "origin": [52.5, 13.4]},
    {"type": "field", "field": "sales", "pivot": 100, "weight": 0.2},
    {"type": "pin", "ids": ["a", 1], "query": "returns?"},
    {"type": "bury", "ids": ["b"]},
    {"type": "mmr"},
    {"type": "max_per", "field": "brand", "n": 2},
]


def test_a_mapping_names_its_stage() -> None:
    policy = Policy.of({"after": GOOD})
    assert policy.after == (
        Boost({"term": {"stock": True}}, factor=1.2),
        Boost({"term": {"stock": True}}, add=-0.1),
        Decay("published", "30d", 0.3),
        Decay("price", 20, 0.3, origin=0, shape="linear"),
        Decay("at", "5km", 0.3, origin=[52.5, 13.4]),
        FieldSignal("sales", 100, 0.2),
        Pin(("a", 1), "returns?"),
        Bury(("b",)),
        Mmr(),
        MaxPer("brand", 2),
    )
    assert Policy(after=list(policy.after)) == policy


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"type": "boosts"}, "type"),
        ({}, "type"),
        ({"type": "boost", "factor": 2}, "filter"),
        ({"type": "boost", "filter": {}}, "factor"),
        ({"type": "boost", "filter": {}, "factor": 2, "add": 0.1}, "factor"),
        ({"type": "boost", "filter": {}, "factor": 11}, "factor"),
        ({"type": "boost", "filter": {}, "add": -2}, "add"),
        ({"type": "boost", "filter": None, "add": 0.1}, "filter"),
        ({"type": "decay", "field": "x", "scale": "30d"}, "weight"),
        ({"type": "decay", "field": "x", "scale": "30d", "weight": 2}, "weight"),
        ({"type": "decay", "field": "", "scale": "30d", "weight": 1}, "field"),
        ({"type": "decay", "field": "x", "scale": 30, "weight": 1}, "scale"),
        ({"type": "decay", "field": "x", "scale": "30 parsecs", "weight": 1}, "scale"),
        ({"type": "decay", "field": "x", "scale": "0d", "weight": 1}, "scale"),
        ({"type": "decay", "field": "x", "scale": "5km", "weight": 1}, "scale"),
        ({"type": "decay", "field": "x", "scale": "5d", "weight": 1, "origin": 3}, "scale"),
        ({"type": "decay", "field": "x", "scale": 5, "weight": 1, "origin": "soon"}, "origin"),
        ({"type": "decay", "field": "x", "scale": 5, "weight": 1, "origin": [99, 0]}, "origin"),
        ({"type": "decay", "field": "x", "scale": "5d", "weight": 1, "offset": -1}, "offset"),
        ({"type": "decay", "field": "x", "scale": "5d", "weight": 1, "shape": "cubic"}, "shape"),
        ({"type": "decay", "field": "x", "scale": "5d", "weight": 1, "midpoint": 1}, "midpoint"),
        ({"type": "decay", "field": "x", "scale": "5d", "weight": 1, "missing": 2}, "missing"),
        ({"type": "field", "field": "x", "pivot": 0, "weight": 1}, "pivot"),
        ({"type": "field", "field": "x", "pivot": 1, "weight": 1, "curve": "exp"}, "curve"),
        ({"type": "pin", "ids": []}, "ids"),
        ({"type": "pin", "ids": "abc"}, "ids"),
        ({"type": "pin", "ids": list(range(11))}, "ids"),
        ({"type": "pin", "ids": [1], "place": 0}, "place"),
        ({"type": "pin", "ids": [1], "query": "("}, "query"),
        ({"type": "bury", "ids": [True]}, "ids"),
        ({"type": "mmr", "lambda_mult": 1.1}, "lambda_mult"),
        ({"type": "mmr", "lambda": 0.5}, "lambda"),
        ({"type": "max_per", "field": "x", "n": 0}, "n"),
        ({"type": "max_per", "field": "meta.*"}, "field"),
        ({"type": "field", "field": "offers[].sales", "pivot": 1, "weight": 1}, "field"),
        ({"type": "max_per", "field": "x", "part": "path"}, "part"),
    ],
)
def test_a_wrong_stage_is_named(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy.of({"after": [{"type": "mmr"}, wrong]})
    assert caught.value.key == f"policy.after.1.{key}"


@pytest.mark.parametrize("wrong", ["mmr", {"type": "mmr"}, 5, [5], [{"type": "mmr"}] * 33])
def test_something_else_is_not_a_list_of_stages(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy(after=wrong)
    assert caught.value.key.startswith("policy.after")


def test_distances_may_be_of_pythons_types() -> None:
    Decay("x", timedelta(days=3), 0.5, origin=date(2026, 1, 1), offset=timedelta(hours=1))


def test_extras_are_what_the_stages_read() -> None:
    found = extras(Policy.of({"after": GOOD}).after)
    assert found.fields == ("published", "price", "at", "sales", "brand", "_doc_id")
    assert found.filters == {
        "policy.after.0.filter": {"term": {"stock": True}},
        "policy.after.1.filter": {"term": {"stock": True}},
    }
    assert extras(()) == Extras()
