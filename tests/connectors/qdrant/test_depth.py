"""Requests made as deep as a window, the caller's own left as they are."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client.http import models

from vecdb_rerank import TextFields
from vecdb_rerank_qdrant import deepen, plain
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


def test_fused_prefetches_are_as_deep_as_the_window() -> None:
    deep_enough = prefetch(limit=70)
    fused = prefetch(prefetch=[deep_enough, prefetch()]).model_copy(update={"query": RRF})
    deep = deepen({"query": RRF, "prefetch": [fused, prefetch(limit=5)], "limit": 5}, 50)
    first, second = deep["prefetch"]
    assert (first.limit, second.limit) == (50, 50)
    assert first.prefetch[0] is deep_enough
    assert first.prefetch[1].limit == 50
    assert fused.limit is None


SCORE = models.FormulaQuery(formula=models.MultExpression(mult=[2.0, "$score"]))


@pytest.mark.parametrize("query", [VECTOR, [VECTOR, VECTOR], models.NearestQuery(nearest=1), SCORE])
def test_prefetches_that_are_rescored_decide_which_points_can_be_hits(query: Any) -> None:
    """A funnel: what a prefetch found is rescored, by late interaction say."""
    inside = prefetch(limit=20, prefetch=[prefetch(limit=100), prefetch()])
    for outer in (inside, inside.model_copy(update={"query": RRF})):
        deep = deepen({"query": query, "prefetch": outer, "limit": 5}, 50)
        assert deep == {"query": query, "prefetch": outer, "limit": 50 + TIES}
        assert deep["prefetch"] is outer


def test_a_funnel_that_is_fused_is_deeper_only_where_it_is_fused() -> None:
    funnel = prefetch(prefetch=prefetch(limit=20), limit=10)
    deep = deepen({"query": RRF, "prefetch": [funnel, prefetch()]}, 50)["prefetch"]
    assert [branch.limit for branch in deep] == [50, 50]
    assert deep[0].prefetch.limit == 20


def test_a_fused_prefetch_may_be_one_a_tuple_or_a_mapping() -> None:
    assert deepen({"query": RRF, "prefetch": prefetch()}, 50)["prefetch"].limit == 50
    plain = {"query": {"fusion": "rrf"}, "prefetch": (prefetch(), {"query": VECTOR})}
    deep = deepen(plain, 50)["prefetch"]
    assert isinstance(deep, tuple)
    assert (deep[0].limit, deep[1]["limit"]) == (50, 50)


@pytest.mark.parametrize(
    "request_",
    [
        {"query": RRF, "prefetch": [prefetch()], "limit": 3, "offset": 40},
        {"query": VECTOR},
        {"query": VECTOR, "group_by": "g"},
        models.QueryRequest(query=VECTOR, offset=4, with_payload=True),
    ],
)
def test_with_its_own_depth_a_request_is_never_deeper(request_: Any) -> None:
    assert deepen(request_, 50, rerank_depth="own") is request_


def test_with_its_own_depth_a_request_brings_the_text() -> None:
    request = {"query": VECTOR, "with_payload": ["n"], "offset": 7}
    include = models.PayloadSelectorInclude(include=["n", "body"])
    deep = deepen(request, 50, TextFields(("body",)), rerank_depth="own")
    assert deep == {**request, "with_payload": include}


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


def test_a_batchs_request_for_no_fields_stays_one_for_an_empty_payload() -> None:
    request = models.QueryRequest(query=VECTOR, with_payload=[])
    include = models.PayloadSelectorInclude(include=["text"])
    assert deepen(request, 20, TextFields(("text",))).with_payload == include
    assert plain.arguments_of(request)["with_payload"] == []


def test_the_payload_brings_the_fields_of_the_documents() -> None:
    deep = deepen({"query": VECTOR, "with_payload": ["n"]}, 50, TextFields(("body",)))
    assert deep["with_payload"] == models.PayloadSelectorInclude(include=["n", "body"])
