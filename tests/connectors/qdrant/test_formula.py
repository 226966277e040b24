"""What a formula reads, and why it may not be kept in force."""

from __future__ import annotations

import pytest

from vecdb_rerank_qdrant import formula, request_reader

PREFETCH = {"query": [0.1, 0.2], "limit": 20}


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        ({"sum": ["$score", "price"]}, ("price",)),
        ({"mult": [{"neg": "$score"}, "meta.price.net", "meta.stock"]}, ("meta",)),
        (
            {"sum": ["$score[00]", '"with space".x', "tags[].n", "list[0]"]},
            ("with space", "tags", "list"),
        ),
        ({"div": {"left": "$score", "right": "a", "by_zero_default": 1.0}}, ("a",)),
        ({"pow": {"base": "$score", "exponent": {"sqrt": "b"}}}, ("b",)),
        (
            {
                "max": [
                    "$score",
                    {"min": [{"abs": "c"}, {"exp": {"ln": {"log10": {"acosh": "d"}}}}]},
                ]
            },
            ("c", "d"),
        ),
        (
            {
                "sum": [
                    "$score",
                    {"gauss_decay": {"x": {"geo_distance": {"origin": {}, "to": "at.geo"}}}},
                ]
            },
            ("at",),
        ),
        (
            {
                "sum": [
                    "$score",
                    {
                        "lin_decay": {
                            "x": {"datetime_key": "day"},
                            "target": {"datetime": "2026-01-01"},
                        }
                    },
                ]
            },
            ("day",),
        ),
        ({"sum": ["$score", {"key": "brand.name", "match": {"value": "x"}}]}, ("brand",)),
        (
            {
                "sum": [
                    "$score",
                    {
                        "must": [{"is_empty": {"key": "e"}}, {"has_id": [1]}],
                        "should": {"is_null": {"key": "f"}},
                        "min_should": {
                            "conditions": [{"nested": {"key": "g[]", "filter": {"must": []}}}]
                        },
                    },
                ]
            },
            ("e", "f", "g"),
        ),
    ],
)
def test_the_keys_that_a_formula_reads(read: object, keys: tuple[str, ...]) -> None:
    assert formula.obstacle(read) is None
    assert formula.payload_keys(read) == keys
    request = {"query": {"formula": read}, "prefetch": PREFETCH}
    assert request_reader.payload_keys(request) == keys
    assert request_reader.obstacle(request) is None
    assert request_reader.tail_follows(request)


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ("price", "$score"),
        ({"sum": ["$score", "$score[1]"]}, "$score[1]"),
        ({"sum": ["$score", {"has_vector": "dense"}]}, "has_vector"),
        ({"sum": ["$score", {"must": [{"has_vector": "dense"}]}]}, "has_vector"),
        ({"sum": ["$score", {"cosh": "price"}]}, "cosh"),
        ({"sum": ["$score", None]}, "NoneType"),
        ({"sum": ["$score", {}]}, "empty"),
    ],
)
def test_formulas_that_are_not_kept(read: object, why: str) -> None:
    assert why in str(formula.obstacle(read))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([0.1, 0.2], True),
        (7, True),
        ({"nearest": [0.1, 0.2]}, True),
        ({"nearest": {"indices": [1], "values": [0.5]}}, False),
        ({"text": "words", "model": "qdrant/bm25"}, False),
        ({"text": "words", "model": "org/dense"}, True),
        ({"fusion": "rrf"}, False),
        ({"formula": {"mult": [2.0, "$score"]}}, False),
    ],
)
def test_scores_that_may_be_distances(query: object, expected: bool) -> None:
    assert request_reader.may_be_distance(query) is expected
