"""A formula of the caller's stays in force: its scores come beside, and are dealt out again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from qdrant_client.http import models

from tests.dropin.qdrant import generated
from tests.dropin.qdrant.collection import (
    DENSE,
    DISTANT,
    SPARSE,
    AsyncRecording,
    World,
    opened,
)
from tests.dropin.qdrant.formulas import Composed, composed
from tests.dropin.qdrant.generated import QUERY
from tests.dropin.qdrant.test_properties import (
    POLICY,
    as_asked,
    bare,
    by_score,
    hit_id,
    properties,
    wrapped,
)
from vecdb_rerank import Effort, Outcome, TextFields, observe
from vecdb_rerank.ranking.fusion import tie_breaker
from vecdb_rerank.testing import KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
TEXT = TextFields(("text",))
VECTOR = [1.0, 0.25, 0.5, 0.75]


def ask(world: World, reranker: Any, k: int, arguments: dict[str, Any]) -> tuple[Any, Outcome]:
    client = wrapped(world, reranker, TEXT, k)
    with observe() as outcomes:
        points = client.query_points(world.name, **arguments, rerank_query=QUERY).points
    (outcome,) = outcomes
    return points, outcome


@properties
@given(asked=composed(), k=generated.depths, fails=st.booleans())
def test_an_order_that_is_kept_gives_the_raw_result(
    world: World, asked: Composed, k: int, fails: bool
) -> None:
    """What Qdrant gave, cut to the page: of equal scores, a prefetch finds others at each call."""
    reranker = RaisingReranker() if fails else KeepingReranker()
    found, outcome = ask(world, reranker, k, asked.arguments)
    event(f"{outcome.status}, {outcome.reason and outcome.reason[:20]}")
    skipped = ("the page lies past", "no hits", "formula: every hit")
    assert outcome.status != "skipped" or str(outcome.reason).startswith(skipped)
    answer = world.calls[-1].response
    if not isinstance(answer, list):  # passed through
        assert found == answer.points
        return
    offset, limit = asked.arguments["offset"] or 0, asked.arguments["limit"]
    whole = by_score(answer[0].points, ascending=False)
    raw = whole[offset : offset + limit]
    assert [p.score for p in found] == [p.score for p in raw]
    assert bare(found) == bare(raw) or [p.id for p in found] != [p.id for p in raw]
    scores = {p.id: p.score for p in whole}
    assert [scores[p.id] for p in found] == [p.score for p in raw]  # equal ones may change places
    payloads = as_asked(world, found, asked.arguments["with_payload"])
    assert [p.payload for p in found] == [payloads[p.id] for p in found]


@properties
@given(asked=composed(), k=generated.depths)
def test_native_scores_are_dealt_out_in_reranked_order(
    world: World, asked: Composed, k: int
) -> None:
    found, outcome = ask(world, ReversingReranker(), k, asked.arguments)
    event(outcome.status)
    if outcome.status != "reranked":
        return
    (call,) = world.calls
    whole, native = call.response[0].points, {p.id: p.score for p in call.response[1].points}
    window = by_score(whole, ascending=False)[:k]
    prefetch = asked.arguments["prefetch"]
    using = (prefetch[0] if isinstance(prefetch, list) else prefetch).using
    worst = (max if using == DISTANT else min)(native.values())
    for point in whole:  # equal scores at the limit of the prefetch
        native.setdefault(point.id, worst)
    sign = 1 if using == DISTANT else -1
    order = sorted(window, key=lambda p: (sign * native[p.id], tie_breaker(hit_id(p))))
    values = [native[p.id] for p in order]
    order.reverse()
    payloads = {r.id: r.payload for r in world.client.retrieve(world.name, [p.id for p in window])}
    expected = sorted(
        (
            asked.value(value, payloads[point.id])
            for point, value in zip(order, values, strict=True)
        ),
        reverse=True,
    )
    offset, limit = asked.arguments["offset"] or 0, asked.arguments["limit"]
    head = [p.score for p in found][: max(0, k - offset)]
    assert head == pytest.approx(expected[offset : offset + limit], rel=1e-5, abs=1e-5)
    scores = [p.score for p in found]
    assert scores == sorted(scores, reverse=True)
    assert len({p.id for p in found}) == len(found) == len(whole[offset : offset + limit])


BOOSTED = models.FormulaQuery(
    formula=models.SumExpression(sum=["$score", models.MultExpression(mult=[0.01, "meta.n"])]),
    defaults={"meta.n": 0.0},
)
NEAR = models.Prefetch(query=VECTOR, using=DENSE, limit=40)


def test_the_scores_come_in_the_same_round_trip(world: World) -> None:
    """With the points of the query, whatever filters, and only once to see what they are."""
    client = wrapped(world, ReversingReranker(), TEXT, 20)
    arguments: dict[str, Any] = {"query": BOOSTED, "prefetch": NEAR, "rerank_query": QUERY}
    for _ in range(2):
        client.query_points(world.name, **arguments)
    second = world.calls[1]
    assert [call.method for call in world.calls] == ["query_batch_points"] * 2
    assert [len(call.arguments["requests"]) for call in world.calls] == [3, 2]
    deep, scores = second.arguments["requests"]
    assert (deep.limit, deep.prefetch.limit, deep.query) == (28, 40, BOOSTED)
    assert scores.with_payload is False
    assert len(second.response[1].points) == 40


def test_in_a_batch_they_follow_the_queries(world: World) -> None:
    client = wrapped(world, ReversingReranker(), TEXT, 20)
    requests = [
        models.QueryRequest(query=BOOSTED, prefetch=NEAR, limit=5),
        models.QueryRequest(query=VECTOR, using=DENSE, limit=5),
        models.QueryRequest(query=BOOSTED, prefetch=NEAR, limit=5, offset=5),
    ]
    with observe() as outcomes:
        responses = client.query_batch_points(world.name, requests, rerank_query=QUERY)
    assert [outcome.status for outcome in outcomes] == ["reranked"] * 3
    single = client.query_points(
        world.name, BOOSTED, prefetch=NEAR, limit=10, rerank_query=QUERY, with_payload=False
    )
    assert [*responses[0].points, *responses[2].points] == single.points


async def test_an_async_client_keeps_a_formula_too() -> None:
    inner = AsyncRecording(":memory:")
    inner.calls = []
    client = AsyncRerankingQdrantClient(inner, ReversingReranker(), text_fields=TEXT, policy=POLICY)
    with opened("qdrant-local") as world:
        await inner.create_collection(
            "c", vectors_config={DENSE: models.VectorParams(size=4, distance=models.Distance.DOT)}
        )
        records = world.client.scroll(world.name, limit=30, with_vectors=[DENSE])[0]
        await inner.upsert(
            "c",
            [
                models.PointStruct(**{n: getattr(r, n) for n in ("id", "payload", "vector")})
                for r in records
            ],
        )
    with observe() as outcomes:
        await client.query_points("c", BOOSTED, prefetch=NEAR, rerank_query=QUERY)
    (outcome,) = outcomes
    assert outcome.status == "reranked"


PASSED: dict[str, tuple[Any, Any]] = {
    "no $score": ("meta.n", NEAR),
    "$score[1]": (models.SumExpression(sum=["meta.n", "$score", "$score[1]"]), NEAR),
    "exactly one prefetch": (models.SumExpression(sum=["$score", "meta.n"]), [NEAR, NEAR]),
    "has_vector": (
        models.SumExpression(sum=["$score", models.HasVectorCondition(has_vector=SPARSE)]),
        NEAR,
    ),
    "prefetch: no query": (
        models.SumExpression(sum=["$score", "meta.n"]),
        models.Prefetch(limit=20),
    ),
}


@pytest.mark.parametrize("why", PASSED)
def test_a_formula_that_cannot_be_kept_is_sent_as_it_is(world: World, why: str) -> None:
    formula, prefetch = PASSED[why]
    query = models.FormulaQuery(formula=formula, defaults={"meta.n": 0.0})
    _, outcome = ask(world, ReversingReranker(), 20, {"query": query, "prefetch": prefetch})
    (call,) = world.calls
    assert outcome.status == "skipped"
    assert why in str(outcome.reason)
    assert call.arguments["query"] is query


def test_so_is_one_in_groups(world: World) -> None:
    client = wrapped(world, ReversingReranker(), TEXT, 20)
    with observe() as outcomes:
        client.query_points_groups(world.name, "topic", BOOSTED, prefetch=NEAR, rerank_query=QUERY)
    assert "groups" in str(outcomes[0].reason)


def test_a_formula_without_a_value_for_another_hit_s_score_keeps_qdrant_s_order(
    world: World,
) -> None:
    """The logarithm of the best hit's score less a number that lower scores do not reach."""
    whole = world.client.query_points(
        collection_name=world.name,
        query=models.FormulaQuery(formula="$score"),
        prefetch=NEAR,
        limit=40,
    ).points
    best, worst = whole[0], whole[-1]
    only = models.FieldCondition(
        key="meta.n", match=models.MatchValue(value=best.payload["meta"]["n"])
    )
    between = (best.score + worst.score) / 2
    less = models.MultExpression(mult=[only, between])
    left = models.SumExpression(sum=["$score", models.NegExpression(neg=less)])
    query = models.FormulaQuery(formula=models.LnExpression(ln=left))
    arguments = {"query": query, "prefetch": NEAR}
    raw = world.client.query_points(collection_name=world.name, **arguments).points
    found, outcome = ask(world, ReversingReranker(), 40, arguments)
    assert outcome.status == "skipped"
    assert "another hit" in str(outcome.reason)
    assert [p.score for p in found] == pytest.approx([p.score for p in raw], rel=1e-4)


def test_a_page_of_payload_comes_without_what_the_formula_read(world: World) -> None:
    client = RerankingQdrantClient(
        world.client, ReversingReranker(), text_fields=TEXT, policy=POLICY, k=20, payload="page"
    )
    for selector, expected in ((["title"], {"title"}), (False, set())):
        found = client.query_points(
            world.name, BOOSTED, prefetch=NEAR, with_payload=selector, limit=3, rerank_query=QUERY
        ).points
        assert [set(p.payload or ()) for p in found] == [expected] * 3


def test_dates_places_and_text_may_be_weighed() -> None:
    inner = QdrantClient(":memory:")
    vectors = models.VectorParams(size=4, distance=models.Distance.COSINE)
    inner.create_collection("c", vectors_config={DENSE: vectors})
    points = [
        models.PointStruct(
            id=n,
            vector={DENSE: [1.0, n / 10, 0.5, 0.1]},
            payload={
                "text": f"text {n}",
                "at": {"place": {"lon": 13.4 + n / 50, "lat": 52.5}},
                "date": f"2026-01-{n + 1:02}T00:00:00Z",
            },
        )
        for n in range(12)
    ]
    inner.upsert("c", points)
    berlin = models.GeoPoint(lon=13.4, lat=52.5)
    distance = models.GeoDistance(
        geo_distance=models.GeoDistanceParams(origin=berlin, to="at.place")
    )
    near = models.GaussDecayExpression(
        gauss_decay=models.DecayParamsExpression(x=distance, scale=5000.0)
    )
    fresh = models.LinDecayExpression(
        lin_decay=models.DecayParamsExpression(
            x=models.DatetimeKeyExpression(datetime_key="date"),
            target=models.DatetimeExpression(datetime="2026-01-31T00:00:00Z"),
            scale=86400.0 * 20,
        )
    )
    said = models.FieldCondition(key="text", match=models.MatchText(text="7"))
    formula = models.SumExpression(sum=["$score", near, fresh, said])
    client = RerankingQdrantClient(inner, KeepingReranker(), text_fields=TEXT, policy=POLICY)
    arguments: dict[str, Any] = {"query": models.FormulaQuery(formula=formula), "prefetch": NEAR}
    with observe() as outcomes:
        found = client.query_points("c", **arguments, rerank_query=QUERY)
    assert outcomes[0].status == "reranked"
    assert found == inner.query_points("c", **arguments)


def test_effort_and_minimum_relevance_hold_under_a_formula(world: World) -> None:
    """As many texts are read as the effort allows, for all pages the same."""
    reranker = KeepingReranker()
    policy = replace(POLICY, effort=Effort(pairs=10), min_relevance=0.2)
    client = RerankingQdrantClient(world.client, reranker, text_fields=TEXT, policy=policy, k=30)
    pages: list[models.ScoredPoint] = []
    with observe() as outcomes:
        for offset in (0, 10, 20):
            response = client.query_points(
                world.name,
                BOOSTED,
                prefetch=NEAR,
                limit=10,
                offset=offset,
                rerank_query=QUERY,
            )
            pages += response.points
    assert [outcome.scored for outcome in outcomes] == [10] * 3
    assert len({p.id for p in pages}) == len(pages)
    scores = [p.score for p in pages]
    assert scores == sorted(scores, reverse=True)


def test_with_its_own_depth_a_page_is_reranked_by_itself(world: World) -> None:
    client = RerankingQdrantClient(
        world.client, ReversingReranker(), text_fields=TEXT, policy=POLICY, rerank_depth="own"
    )
    call: dict[str, Any] = {"query": BOOSTED, "prefetch": NEAR, "limit": 7, "offset": 14}
    raw = world.client.query_points(collection_name=world.name, **call).points
    with observe() as outcomes:
        found = client.query_points(world.name, **call, rerank_query=QUERY).points
    assert (outcomes[0].status, outcomes[0].seen) == ("reranked", 7)
    assert {p.id for p in found} == {p.id for p in raw}
