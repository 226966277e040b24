"""With ``payload="page"`` the caller sees what he sees without it, in one more request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event, given
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from tests.dropin.qdrant import generated
from tests.dropin.qdrant.collection import COUNT, DENSE, World, fill
from tests.dropin.qdrant.generated import QUERY, Asked
from tests.dropin.qdrant.test_properties import POLICY, properties
from vecdb_rerank import ConfigurationError, Policy, TextFields, observe
from vecdb_rerank.testing import RaisingReranker, ReversingReranker
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
NEAR: dict[str, Any] = {"query": [1.0, 0.5, 0.25, 0.75], "using": DENSE, "rerank_query": QUERY}


def wrapped(world: World, payload: Any, **options: Any) -> RerankingQdrantClient:
    given = {"reranker": ReversingReranker(), "policy": POLICY, **options}
    return RerankingQdrantClient(world.client, payload=payload, **given)


def check_same(one: Sequence[Any], other: Sequence[Any], *, local: bool) -> None:
    """Points are the same; Qdrant orders equal scores differently from call to call."""
    assert [p.score for p in one] == pytest.approx([p.score for p in other])
    if not local and [p.id for p in one] != [p.id for p in other]:
        event("ties")
        return
    for mine, theirs in zip(one, other, strict=True):
        assert mine.model_dump(exclude={"vector", "score"}) == theirs.model_dump(
            exclude={"vector", "score"}
        )
        assert (mine.vector is None) is (theirs.vector is None)
        if mine.vector:  # local mode normalizes vectors again at some queries
            assert mine.vector.keys() == theirs.vector.keys()
            assert mine.vector.get(DENSE) == pytest.approx(theirs.vector.get(DENSE))


@properties
@given(
    asked=generated.requests(generated.reranked),
    text_fields=generated.text_fields,
    k=generated.depths,
)
def test_a_call_returns_the_same_either_way(
    world: World, asked: Asked, text_fields: TextFields, k: int
) -> None:
    arguments = {"collection_name": world.name, **asked.arguments, "rerank_query": QUERY}
    try:
        plain = wrapped(world, "all", text_fields=text_fields, k=k).query_points(**arguments)
    except Exception:
        event("refused")
        return
    paged = wrapped(world, "page", text_fields=text_fields, k=k).query_points(**arguments)
    check_same(paged.points, plain.points, local=world.local)


def test_the_first_pass_brings_the_text_alone(world: World) -> None:
    client = wrapped(world, "page", k=30)
    world.calls.clear()
    found = client.query_points(world.name, limit=3, with_vectors=True, **NEAR).points
    assert {key for p in world.calls[-1].response.points for key in p.payload} == {"title", "text"}
    assert all(p.vector is None for p in world.calls[-1].response.points)
    assert all("meta" in (p.payload or {}) and p.vector for p in found)


def test_groups_and_batches_return_the_same(world: World) -> None:
    both = [wrapped(world, payload, k=30) for payload in ("all", "page")]
    plain, paged = (
        client.query_points_groups(world.name, "topic", limit=3, group_size=2, **NEAR).groups
        for client in both
    )
    if world.local:  # a server picks other points of equal scores for a group at each call
        assert [group.id for group in paged] == [group.id for group in plain]
        for one, other in zip(paged, plain, strict=True):
            check_same(one.hits, other.hits, local=True)
    assert all("meta" in (hit.payload or {}) for group in (*paged, *plain) for hit in group.hits)
    requests = [
        models.QueryRequest(query=NEAR["query"], using=DENSE, limit=n, with_payload=payload)
        for n, payload in ((2, True), (4, ["meta.n"]), (3, None))
    ]
    answers = [
        client.query_batch_points(world.name, requests, rerank_query=QUERY) for client in both
    ]
    for first, second in zip(*answers, strict=True):
        check_same(second.points, first.points, local=world.local)


def test_a_failing_reranker_costs_no_payload(world: World) -> None:
    client = wrapped(world, "page", k=30, reranker=RaisingReranker())
    with observe() as outcomes:
        points = client.query_points(world.name, limit=3, **NEAR).points
    assert outcomes[0].status == "fell_back"
    assert all("meta" in (point.payload or {}) for point in points)
    assert "payload" in outcomes[0].timings


@pytest.mark.parametrize("options", [{"limit": COUNT}, {"with_payload": False}])
def test_nothing_is_asked_for_twice_if_nothing_is_left_out(
    world: World, options: dict[str, Any]
) -> None:
    with observe() as outcomes:
        wrapped(world, "page", k=30).query_points(world.name, **{"limit": 3, **options}, **NEAR)
    assert "payload" not in outcomes[0].timings


def test_a_slow_reranker_leaves_time_for_the_payload() -> None:
    class Slow(ReversingReranker):
        keeps_deadline = False

        def score(self, *arguments: Any, **options: Any) -> Any:
            time.sleep(3)
            return super().score(*arguments, **options)

    client = QdrantClient(":memory:")
    fill(client, "docs")
    policy = Policy(deadline=1.5, breaker=None)
    reranking = RerankingQdrantClient(client, Slow(), policy=policy, payload="page")
    with observe() as outcomes:
        points = reranking.query_points("docs", limit=3, **NEAR).points
    assert outcomes[0].status == "fell_back"
    assert outcomes[0].timings["total"] < 1_500
    assert all("meta" in (point.payload or {}) for point in points)


def test_a_document_that_is_gone_keeps_its_text() -> None:
    class Forgetting(QdrantClient):
        """Deletes a point before it is asked for."""

        def retrieve(self, collection_name: str, ids: Any, *rest: Any, **options: Any) -> Any:
            self.delete(collection_name, [ids[0]])
            return super().retrieve(collection_name, ids, *rest, **options)

    client = Forgetting(":memory:")
    fill(client, "docs")
    reranking = RerankingQdrantClient(client, ReversingReranker(), policy=POLICY, payload="page")
    first, *others = reranking.query_points("docs", limit=3, **NEAR).points
    assert set(first.payload or ()) == {"title", "text"}
    assert all("meta" in (point.payload or ()) for point in others)


def test_the_asynchronous_client_returns_the_same() -> None:
    async def search(payload: Any) -> Any:
        client = AsyncQdrantClient(":memory:")
        for_filling = QdrantClient(":memory:")
        fill(for_filling, "docs")
        client._client.collections = for_filling._client.collections  # type: ignore[attr-defined]
        async with AsyncRerankingQdrantClient(
            client, ReversingReranker(), policy=POLICY, payload=payload
        ) as reranking:
            return (await reranking.query_points("docs", limit=3, **NEAR)).model_dump()

    assert asyncio.run(search("page")) == asyncio.run(search("all"))


def test_another_payload_option_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RerankingQdrantClient(QdrantClient(":memory:"), None, payload="some")  # type: ignore[arg-type]
    assert caught.value.key == "payload"
