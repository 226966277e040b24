"""Requests made as deep as a window, the caller's own left as they are."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client.http import models

from vecdb_rerank import TextFields
from vecdb_rerank_qdrant import deepen
from vecdb_rerank_qdrant.queries import TIES

VECTOR = [1.0, 0.0]
RRF = models.FusionQuery(fusion=models.Fusion.RRF)


def prefetch(**changes: Any) -> models.Prefetch:
    return models.Prefetch(query=VECTOR, **changes)


@pytest.mark.parametrize(
    "request_",
    [
        {"query": VECTOR, "limit": 50},
        {"query": VECTOR, "limit": 80, "offset": 0},
        {"query": VECTOR, "limit": 10, "offset": 50},  # past the window: Qdrant's own order
        {"query": RRF, "prefetch": [prefetch(limit=50), prefetch(limit=90)], "limit": 60},
        {
            "query": VECTOR,
            "prefetch": prefetch(limit=50, prefetch=[prefetch(limit=51)]),
            "limit": 50,
        },
        {"query": models.SampleQuery(sample=models.Sample.RANDOM)},
        {"query": VECTOR, "group_by": "g", "limit": 10, "group_size": 5},
        models.QueryRequest(query=VECTOR, limit=50, with_payload=True),
    ],
)
def test_a_request_that_is_deep_enough_is_given_back_itself(request_: Any) -> None:
    assert deepen(request_, 50) is request_


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        ({"query": VECTOR}, 50 + TIES),
        ({"query": VECTOR, "limit": 5, "offset": 20}, 50 + TIES),
        ({"query": VECTOR, "limit": 30, "offset": 45}, 75),  # dense pages go on
        ({"query": RRF, "prefetch": [prefetch()], "limit": 30, "offset": 45}, 50 + TIES),
        ({"query": RRF, "prefetch": [prefetch()], "limit": 10, "offset": 90}, 50 + TIES),
        ({"query": RRF, "prefetch": [prefetch()], "limit": 70}, 70),
        ({"query": VECTOR, "group_by": "g"}, 17),  # groups of 3
        ({"query": VECTOR, "group_by": "g", "group_size": 50, "limit": 1}, 1),
    ],
)
def test_the_limit_reaches_over_the_window_from_the_first_hit(
    request_: dict[str, Any], limit: int
) -> None:
    before = repr(request_)
    deep = deepen(request_, 50)
    assert deep.get("limit") == limit
    assert not deep.get("offset")
    assert repr(request_) == before


def test_every_prefetch_of_a_tree_is_as_deep_as_the_window() -> None:
    inner = prefetch(limit=70)
    outer = prefetch(prefetch=[inner, prefetch()])
    deep = deepen({"query": RRF, "prefetch": [outer, prefetch(limit=5)], "limit": 5}, 50)[
        "prefetch"
    ]
    assert [branch.limit for branch in deep] == [50, 50]
    assert deep[0].prefetch[0] is inner
    assert deep[0].prefetch[1].limit == 50
    assert outer.limit is None


def test_a_prefetch_may_be_one_a_tuple_or_a_mapping() -> None:
    assert deepen({"query": VECTOR, "prefetch": prefetch()}, 50)["prefetch"].limit == 50
    deep = deepen({"query": VECTOR, "prefetch": (prefetch(), {"query": VECTOR})}, 50)["prefetch"]
    assert isinstance(deep, tuple)
    assert (deep[0].limit, deep[1]["limit"]) == (50, 50)


def test_a_batchs_request_is_copied_and_brings_the_text_it_left_out() -> None:
    request = models.QueryRequest(query=VECTOR, limit=5, offset=3, filter=models.Filter())
    deep = deepen(request, 20, TextFields(("text",)))
    assert deep == models.QueryRequest(
        query=VECTOR,
        limit=20 + TIES,
        filter=models.Filter(),
        with_payload=models.PayloadSelectorInclude(include=["text"]),
    )
    assert (request.limit, request.offset, request.with_payload) == (5, 3, None)


def test_the_payload_brings_the_fields_of_the_documents() -> None:
    deep = deepen({"query": VECTOR, "with_payload": ["n"]}, 50, TextFields(("body",)))
    assert deep["with_payload"] == models.PayloadSelectorInclude(include=["n", "body"])
