"""What must hold of any request, checked on one recorded response each.

``VECDB_RERANK_TEST_EXAMPLES`` sets how many requests are generated for each property.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from qdrant_client.http import models

from tests.dropin.exceptions import documented
from tests.dropin.qdrant import generated
from tests.dropin.qdrant.collection import World
from tests.dropin.qdrant.generated import MISSING, QUERY, Asked
from vecdb_rerank import Policy, TextFields, observe
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.fusion import tie_breaker
from vecdb_rerank.testing import KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_qdrant import RerankingQdrantClient, deepen, plain, request_reader
from vecdb_rerank_qdrant.queries import BATCH_NAMES

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
EXAMPLES = int(os.environ.get("VECDB_RERANK_TEST_EXAMPLES", "25"))
properties = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 100,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
POLICY = Policy(deadline=None, breaker=None, blend=Blend("replace"))
Order = Callable[[Sequence[Any]], list[Any]]


def wrapped(
    world: World, reranker: Any, text_fields: TextFields, k: int, count: int = 1
) -> RerankingQdrantClient:
    world.generated += count
    world.calls.clear()
    world.bodies.clear()
    return RerankingQdrantClient(
        world.client, reranker, text_fields=text_fields, policy=POLICY, k=k
    )


def by_score(points: Sequence[models.ScoredPoint], ascending: bool) -> list[models.ScoredPoint]:
    sign = 1 if ascending else -1
    return sorted(points, key=lambda p: (sign * p.score, tie_breaker(hit_id(p))))


def hit_id(point: models.ScoredPoint) -> int | str:
    return point.id if isinstance(point.id, int | str) else str(point.id)


def page(points: Sequence[Any], asked: Asked, k: int, order: Order) -> list[Any]:
    """The caller's page of a recorded response, its first ``k`` points in another ``order``."""
    offset = asked.arguments.get("offset") or 0
    limit = asked.arguments.get("limit", 10)
    found = by_score(points, asked.ascending)
    rest = found[k:] if asked.pages_on or not offset else []
    return [*order(found[:k]), *rest][offset : offset + limit]


def as_asked(world: World, points: Sequence[models.ScoredPoint], selector: Any) -> dict[Any, Any]:
    """The points' payloads as the server itself gives them for the caller's selector."""
    if selector is None or selector is False:
        return {point.id: None for point in points}
    chosen = True if selector is MISSING else selector
    records = world.client.retrieve(world.name, [p.id for p in points], with_payload=chosen)
    # `retrieve` over gRPC has an empty payload where a query has none.
    none: Any = None if world.backend == "qdrant-grpc" else {}
    return {record.id: record.payload or none for record in records}


def bare(points: Sequence[Any]) -> list[dict[str, Any]]:
    """Everything of points but score and payload."""
    return [p.model_dump(exclude={"score", "payload"}) for p in points]


def check_page(
    world: World, asked: Asked, found: Sequence[Any], expected: Sequence[Any], scores: bool
) -> None:
    assert bare(found) == bare(expected)
    payloads = as_asked(world, expected, asked.arguments.get("with_payload", MISSING))
    assert [p.payload for p in found] == [payloads[p.id] for p in expected]
    values = [p.score for p in found]
    assert all(type(value) is float for value in values)
    if scores:
        assert values == [p.score for p in expected]
    else:
        assert values == sorted(values, reverse=True)
    json.dumps([p.model_dump() for p in found])


@properties
@given(
    asked=generated.requests(st.one_of(generated.reranked, generated.passed())),
    text_fields=generated.text_fields,
    k=generated.depths,
)
def test_with_an_order_keeping_reranker_a_call_equals_the_raw_one(
    world: World, asked: Asked, text_fields: TextFields, k: int
) -> None:
    """But for the exceptions that docs/drop_in.md lists."""
    arguments = {"collection_name": world.name, **asked.arguments}
    try:
        raw = world.client.query_points(**arguments).points
    except Exception:
        event("refused")
        return
    client = wrapped(world, KeepingReranker(), text_fields, k)
    found = client.query_points(**arguments, rerank_query=QUERY).points
    check_equal(found, raw, world.calls[-1].response.points, asked, k)


def check_equal(
    found: Sequence[Any], raw: Sequence[Any], recorded: Sequence[Any], asked: Asked, k: int
) -> None:
    """Points are the raw ones, but for the documented exceptions."""
    allowed = set(exceptions(asked, k))
    assert allowed | {"ties"} <= documented("Qdrant")
    event(", ".join(sorted(allowed)) or "equal")
    if allowed:
        return
    assert len(found) == len(raw)
    if [p.id for p in found] != [p.id for p in raw]:  # only hits of equal scores change places
        scores = {p.id: p.score for p in recorded}
        assert [scores[p.id] for p in found] == pytest.approx([p.score for p in raw])
        event("ties")
        return
    # Local mode normalizes a stored vector again at some queries: its digits differ by themselves.
    fields = {"version", "shard_key", "order_value"}
    assert [p.model_dump(include=fields) for p in found] == [
        p.model_dump(include=fields) for p in raw
    ]
    assert [type(p.vector) for p in found] == [type(p.vector) for p in raw]
    assert [p.payload for p in found] == [p.payload for p in raw]


@properties
@given(
    batch=st.lists(
        generated.requests(st.one_of(generated.reranked, generated.passed())), max_size=3
    ),
    k=generated.depths,
)
def test_so_does_a_batch(world: World, batch: list[Asked], k: int) -> None:
    requests = [in_a_batch(asked) for asked in batch]
    raw = world.client.query_batch_points(collection_name=world.name, requests=requests)
    client = wrapped(world, KeepingReranker(), TextFields(), k, len(batch))
    ours = client.query_batch_points(world.name, requests, rerank_query=QUERY)
    (call,) = world.calls
    for found, one, recorded, asked in zip(ours, raw, call.response, batch, strict=True):
        check_equal(found.points, one.points, recorded.points, asked, k)


def exceptions(asked: Asked, k: int) -> Iterator[str]:
    """The rows of docs/drop_in.md that say how a call may differ from the raw one."""
    request = plain.request(asked.arguments)
    offset, limit = asked.arguments.get("offset") or 0, asked.arguments.get("limit", 10)
    if request_reader.is_fusion(request.get("query")):
        yield "fused"
    if not asked.pages_on and offset and offset + limit > k and not obstructed(asked):
        yield "window_end"
    if "sample" in str(request_reader.obstacle(request)):
        yield "random"


def past(asked: Asked, k: int) -> bool:
    return asked.pages_on and (asked.arguments.get("offset") or 0) >= k


@properties
@given(
    asked=generated.requests(generated.reranked),
    text_fields=generated.text_fields,
    k=generated.depths,
    how=st.sampled_from(("keeping", "reversing", "failing")),
)
def test_a_response_is_the_recorded_one_reordered_and_nothing_else(
    world: World, asked: Asked, text_fields: TextFields, k: int, how: str
) -> None:
    reranker: Any = {
        "keeping": KeepingReranker(),
        "reversing": ReversingReranker(),
        "failing": RaisingReranker(),
    }[how]
    client = wrapped(world, reranker, text_fields, k)
    before = repr(asked.arguments)
    with observe() as outcomes:
        response = client.query_points(world.name, **asked.arguments, rerank_query=QUERY)
    assert repr(asked.arguments) == before  # the caller's objects are not changed
    (call,) = world.calls
    (outcome,) = outcomes
    event(outcome.status)
    sent = {"collection_name": world.name, **asked.arguments}
    deep = deepen(sent, k, text_fields)
    assert {name: call.arguments[name] for name in deep} == dict(deep)
    assert deepen(deep, k, text_fields) is deep or asked.arguments.get("offset")
    if past(asked, k):
        assert outcome.status == "skipped"
        assert response == call.response
        return
    expected = page(call.response.points, asked, k, reversed_if(how == "reversing"))
    unscored = outcome.status in ("skipped", "fell_back")
    assert unscored == (how == "failing" or not call.response.points or past_end(asked, k))
    check_page(world, asked, response.points, expected, scores=unscored)


def reversed_if(turned: bool) -> Order:
    return lambda points: list(reversed(points)) if turned else list(points)


def past_end(asked: Asked, k: int) -> bool:
    """Whether the page lies past a window that nothing follows."""
    offset = asked.arguments.get("offset") or 0
    return not asked.pages_on and offset >= k


@properties
@given(
    asked=generated.requests(st.one_of(generated.reranked, generated.passed())), off=st.booleans()
)
def test_a_request_that_is_not_reranked_is_sent_as_it_is(
    world: World, asked: Asked, off: bool
) -> None:
    client = wrapped(world, ReversingReranker(), TextFields(), 20)
    kwargs: dict[str, Any] = {"rerank": False, "rerank_query": QUERY} if off else {}
    raised = None
    with observe() as outcomes:
        try:
            response = client.query_points(world.name, **asked.arguments, **kwargs)
        except Exception as error:
            raised = error
    ours = list(world.bodies), list(world.calls)
    world.calls.clear()
    world.bodies.clear()
    if raised is not None:
        with pytest.raises(type(raised)):
            world.client.query_points(collection_name=world.name, **asked.arguments)
    else:
        world.client.query_points(collection_name=world.name, **asked.arguments)
        assert [o.status for o in outcomes] == ["skipped"]
        assert response == ours[1][0].response
    assert world.bodies == ours[0]
    (call,), (raw,) = ours[1], world.calls
    assert {name: call.arguments[name] for name in raw.arguments} == raw.arguments


@properties
@given(
    asked=generated.requests(generated.reranked),
    size=st.integers(1, 4),
    text_fields=generated.text_fields,
    k=generated.depths,
    turned=st.booleans(),
)
def test_groups_are_reordered_inside_and_by_their_best_point(
    world: World, asked: Asked, size: int, text_fields: TextFields, k: int, turned: bool
) -> None:
    reranker: Any = ReversingReranker() if turned else KeepingReranker()
    client = wrapped(world, reranker, text_fields, k)
    arguments = {name: v for name, v in asked.arguments.items() if name != "offset"}
    response = client.query_points_groups(
        world.name, "topic", **arguments, group_size=size, rerank_query=QUERY
    )
    (call,) = world.calls
    recorded = call.response.groups
    flat = by_score([p for group in recorded for p in group.hits], asked.ascending)
    order = [*reversed_if(turned)(flat[:k]), *flat[k:]]
    home = {p.id: n for n, group in enumerate(recorded) for p in group.hits}
    places = list(dict.fromkeys(home[p.id] for p in order))[: arguments.get("limit", 10)]
    assert [group.id for group in response.groups] == [recorded[n].id for n in places]
    for group, n in zip(response.groups, places, strict=True):
        check_page(world, asked, group.hits, [p for p in order if home[p.id] == n], scores=False)
        assert len(group.hits) == len(recorded[n].hits)
        assert group.lookup == recorded[n].lookup
    best = [group.hits[0].score for group in response.groups]
    assert best == sorted(best, reverse=True)


@properties
@given(
    batch=st.lists(
        st.tuples(
            generated.requests(st.one_of(generated.reranked, generated.passed())),
            st.sampled_from((QUERY, None)),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    k=generated.depths,
)
def test_each_query_of_a_batch_is_reordered_alone(
    world: World, batch: list[tuple[Asked, str | None, bool]], k: int
) -> None:
    client = wrapped(world, ReversingReranker(), TextFields(), k, len(batch))
    requests = [in_a_batch(asked) for asked, *_ in batch]
    before = repr(requests)
    with observe() as outcomes:
        responses = client.query_batch_points(
            world.name,
            requests,
            rerank_query=[text for _, text, _ in batch],
            rerank=[on for *_, on in batch],
        )
    assert repr(requests) == before
    (call,) = world.calls
    sent = call.arguments["requests"]
    rows = zip(batch, requests, sent, call.response, responses, outcomes, strict=True)
    for (asked, text, on), request, one, recorded, response, outcome in rows:
        if outcome.status == "skipped" and not past_end(asked, k) and recorded.points:
            assert text is None or not on or obstructed(asked) or past(asked, k)
            assert one is request
            assert response == recorded
            continue
        if obstructed(asked) or text is None or not on:
            continue
        selector = request.with_payload or None
        alone = Asked(
            {**asked.arguments, "with_payload": selector}, asked.pages_on, asked.ascending
        )
        expected = page(recorded.points, alone, k, reversed_if(True))
        check_page(world, alone, response.points, expected, scores=outcome.status == "skipped")


def in_a_batch(asked: Asked) -> models.QueryRequest:
    known = {n: v for n, v in asked.arguments.items() if n in BATCH_NAMES}
    return models.QueryRequest(**{BATCH_NAMES[name]: value for name, value in known.items()})


def obstructed(asked: Asked) -> bool:
    return request_reader.obstacle(plain.request(asked.arguments)) is not None
