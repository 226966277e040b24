"""With ``payload="page"`` the caller sees what he sees without it, in one more request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import event, given
from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import OpenSearchException

from tests.dropin.opensearch import generated
from tests.dropin.opensearch.generated import QUERY, Arguments
from tests.dropin.opensearch.test_properties import POLICY, placed, properties
from tests.dropin.opensearch.world import World
from vecdb_rerank import TextFields, observe
from vecdb_rerank.testing import RaisingReranker, ReversingReranker
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch

MATCH: dict[str, Any] = {"query": {"match": {"text": "honey bees"}}, "size": 3}


def wrapped(world: World, payload: Any, **options: Any) -> RerankingOpenSearch:
    given = {"reranker": ReversingReranker(), "policy": POLICY, "k": 20, **options}
    return RerankingOpenSearch(world.client, payload=payload, **given)


def seen(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs from call to call."""
    return {name: value for name, value in response.items() if name not in ("took", "profile")}


@properties
@given(
    search=generated.searches(),
    text_fields=generated.text_fields,
    k=generated.depths,
)
def test_a_call_returns_the_same_either_way(
    world: World, search: Arguments, text_fields: TextFields, k: int
) -> None:
    arguments = {**placed(world, search), "rerank_query": QUERY}
    options = {"text_fields": text_fields, "k": k}
    try:
        plain = wrapped(world, "all", **options).search(**arguments)
    except OpenSearchException:
        event("refused")
        return
    with observe() as outcomes:
        paged = wrapped(world, "page", **options).search(**arguments)
    event("second request" if "payload" in outcomes[0].timings else "at once")
    assert seen(paged) == seen(plain)


def test_the_first_pass_brings_the_text_alone(world: World) -> None:
    with world.watched() as log:
        response = wrapped(world, "page").search(index=world.targets[0], body=MATCH)
    first, _ = log
    sources = [hit["_source"] for hit in first.response["hits"]["hits"]]
    assert {name for source in sources for name in source} == {"title", "text"}
    assert all("meta" in hit["_source"] for hit in response["hits"]["hits"])


def test_documents_of_two_indices_with_one_id_keep_their_own(world: World) -> None:
    body = {**MATCH, "size": 15}
    response = wrapped(world, "page", k=100).search(index=world.targets[2], body=body)
    for hit in response["hits"]["hits"]:
        assert hit["_source"] == world.documents[hit["_index"], hit["_id"]]


@pytest.mark.parametrize(
    "more",
    [
        {"highlight": {"fields": {"text": {}}}},
        {"collapse": {"field": "lang", "inner_hits": {"name": "more"}}},
        {"script_fields": {"twice": {"script": {"source": "1"}}}, "_source": True},
        {"version": True},
        {"seq_no_primary_term": True},
        {"explain": True},
        {"stored_fields": ["year"], "_source": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_parts_of_a_search_with_which_the_source_comes_at_once(
    world: World, more: dict[str, Any]
) -> None:
    with world.watched() as log, observe() as outcomes:
        wrapped(world, "page").search(index=world.targets[0], body={**MATCH, **more})
    assert len(log) == 1
    assert "whole_payload" in outcomes[0].notes
    assert outcomes[0].status == "reranked"


def test_nothing_is_asked_for_twice_if_the_caller_wants_no_source(world: World) -> None:
    with world.watched() as log, observe() as outcomes:
        body = {**MATCH, "_source": False}
        wrapped(world, "page").search(index=world.targets[0], body=body)
    assert len(log) == 1
    assert "whole_payload" not in outcomes[0].notes


def test_each_search_of_an_msearch_returns_the_same(world: World) -> None:
    lines: list[Any] = []
    for target, more in ((0, {}), (1, {"_source": ["meta.n"]}), (3, {"version": True})):
        lines += [{"index": world.targets[target]}, {**MATCH, **more}]
    plain, paged = (
        wrapped(world, payload).msearch(body=lines, rerank_query=QUERY)["responses"]
        for payload in ("all", "page")
    )
    assert list(map(seen, paged)) == list(map(seen, plain))


def test_a_failing_reranker_costs_no_source(world: World) -> None:
    with observe() as outcomes:
        response = wrapped(world, "page", reranker=RaisingReranker()).search(
            index=world.targets[0], body=MATCH
        )
    assert outcomes[0].status == "fell_back"
    assert all("meta" in hit["_source"] for hit in response["hits"]["hits"])


def test_the_asynchronous_client_returns_the_same(world: World, opensearch_url: str) -> None:
    async def search(payload: Any) -> Any:
        async with AsyncRerankingOpenSearch(
            AsyncOpenSearch(opensearch_url), ReversingReranker(), policy=POLICY, payload=payload
        ) as client:
            return await client.search(index=world.targets[0], body=MATCH)

    assert seen(asyncio.run(search("page"))) == seen(asyncio.run(search("all")))
