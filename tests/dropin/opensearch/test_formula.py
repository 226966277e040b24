"""A score that the caller composes stays composed: its parts come beside the search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from opensearchpy import AsyncOpenSearch

from tests.dropin.opensearch import generated
from tests.dropin.opensearch.formulas import Composed, composed
from tests.dropin.opensearch.generated import QUERY
from tests.dropin.opensearch.test_properties import POLICY, RERANKERS, properties
from tests.dropin.opensearch.world import World
from vecdb_rerank import Boost, Outcome, Pin, TextFields, observe
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch

NUMBER = TextFields(("meta.n",))  # another text for every document of an index


def ask(world: World, how: str, k: int, **arguments: Any) -> tuple[Any, Outcome]:
    client = RerankingOpenSearch(
        world.client, RERANKERS[how](), text_fields=NUMBER, policy=POLICY, k=k
    )
    with observe() as outcomes:
        response = client.search(**arguments, rerank_query=QUERY)
    (outcome,) = outcomes
    return response, outcome


def hits(response: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = response["hits"]["hits"]
    return found


@properties
@given(
    asked=composed,
    rest=generated.record(
        highlight=generated.highlights,
        aggs=generated.aggregations,
        post_filter=generated.filters,
        _source=generated.sources,
        version=st.booleans(),
        **generated.page,
    ),
    target=st.integers(0, 1),
    k=generated.depths,
    how=st.sampled_from(("keeping", "keeping", "failing")),
)
def test_an_order_that_is_kept_gives_the_raw_result(
    world: World, asked: Composed, rest: Any, target: int, k: int, how: str
) -> None:
    body, index = {**asked.body, **rest}, world.targets[target]
    raw = world.client.search(index=index, body=body)
    found, outcome = ask(world, how, k, index=index, body=body)
    event(f"{outcome.status}: {(outcome.reason or '')[:20]}")
    assert outcome.status != "skipped" or str(outcome.reason).startswith(
        ("the page", "no hits", "rescore", "formula: every hit")
    )
    scores = [hit["_score"] for hit in hits(raw)]
    assert [hit["_score"] for hit in hits(found)] == pytest.approx(scores, rel=1e-5)
    assert without_hits(found) == without_hits(raw)
    if [hit["_id"] for hit in hits(found)] == [hit["_id"] for hit in hits(raw)]:
        assert [{**hit, "_score": 0} for hit in hits(found)] == [
            {**hit, "_score": 0} for hit in hits(raw)
        ]
    else:  # only hits of equal scores change places
        wide = world.client.search(index=index, body={**asked.body, "size": 100})
        known = {hit["_id"]: hit["_score"] for hit in hits(wide)}
        if not asked.rescore:  # whose window the size changes
            assert [known[hit["_id"]] for hit in hits(found)] == pytest.approx(scores, rel=1e-5)


def without_hits(response: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in response.items() if name not in ("took", "hits")}
    return rest, response["hits"].get("total")


@properties
@given(asked=composed, k=generated.depths, size=st.integers(1, 40))
def test_native_scores_are_dealt_out_in_reranked_order(
    world: World, asked: Composed, k: int, size: int
) -> None:
    """What Python makes of the native scores; on one shard, which scores all hits alike."""
    index = world.targets[1]
    with world.watched() as log:
        found, outcome = ask(world, "reversing", k, index=index, body={**asked.body, "size": size})
    event(outcome.status)
    if outcome.status != "reranked":
        return
    recorded = hits(log[-1].response)
    window = (asked.rescore or {}).get("window_size", k)
    recorded = recorded[: min(k, window)]
    own = {"query": asked.native, "size": 100}
    native = {hit["_id"]: hit["_score"] for hit in hits(world.client.search(index=index, body=own))}
    order = sorted(recorded, key=lambda hit: (-native[hit["_id"]], hit["_id"]))
    values = [native[hit["_id"]] for hit in order]
    expected = [
        asked.value(value, hit["_id"], world.documents[index, hit["_id"]])
        for hit, value in zip(reversed(order), values, strict=True)
    ]
    scores = [hit["_score"] for hit in hits(found)]
    assert scores == sorted(scores, reverse=True)
    assert scores[: len(recorded)] == pytest.approx(sorted(expected, reverse=True)[:size], rel=1e-4)
    assert len({hit["_id"] for hit in hits(found)}) == len(hits(found))
    assert "vecdb_rerank" not in json.dumps(found)


MATCH = {"match": {"text": {"query": "honey bees", "_name": "own"}}}
DECAY = {"gauss": {"date": {"origin": "2024-01-20", "scale": "5d", "decay": 0.3}}}
BOOSTED = {"function_score": {"query": MATCH, "functions": [DECAY], "boost_mode": "sum"}}
NEAR = {"distance_feature": {"field": "date", "origin": "2024-01-09", "pivot": "7d"}}
RANK = {"rank_feature": {"field": "rank", "saturation": {"pivot": 4}}}
IDS = {"constant_score": {"filter": {"ids": {"values": ["3", "4"]}}, "boost": 9}}
RESCORE = {"window_size": 12, "query": {"rescore_query": {"match": {"text": "hive"}}}}
KEPT: dict[str, Any] = {
    "function_score": BOOSTED,
    "a single function": {"function_score": {"query": MATCH, "exp": DECAY["gauss"]}},
    "boosting": {
        "boosting": {
            "positive": MATCH,
            "negative": {"match": {"text": "smoke"}},
            "negative_boost": 0.2,
        }
    },
    "should": {"bool": {"must": MATCH, "should": [NEAR, RANK, IDS]}},
    "must": {"bool": {"must": [MATCH, RANK, {"term": {"lang": "en"}}]}},
    "should alone": {"bool": {"should": [MATCH, IDS], "minimum_should_match": 1}},
    "a function_score in should": {
        "bool": {"must": MATCH, "should": {"function_score": {"functions": [DECAY]}}}
    },
    "nested": {"boosting": {"positive": BOOSTED, "negative": NEAR, "negative_boost": 0.9}},
    "bool in bool": {"bool": {"must": [{"bool": {"must": [MATCH], "should": [IDS]}}]}},
}


@pytest.mark.parametrize("kind", KEPT)
def test_composed_queries_that_are_reranked(world: World, kind: str) -> None:
    index, body = world.targets[1], {"query": KEPT[kind], "size": 15}
    raw = world.client.search(index=index, body=body)
    kept, outcome = ask(world, "keeping", 30, index=index, body=body)
    assert outcome.status == "reranked"
    assert [hit["_score"] for hit in hits(kept)] == [hit["_score"] for hit in hits(raw)]
    turned, _ = ask(world, "reversing", 30, index=index, body=body)
    assert [hit["_id"] for hit in hits(turned)] != [hit["_id"] for hit in hits(raw)]
    assert "vecdb_rerank" not in json.dumps(turned)


@pytest.mark.parametrize("with_scores", [None, True, False])
def test_the_caller_s_own_names_stay(world: World, with_scores: bool | None) -> None:
    url = {} if with_scores is None else {"include_named_queries_score": with_scores}
    for spread in (url, {"params": {n: str(v).lower() for n, v in url.items()}}):
        call = {"index": world.targets[1], "body": {"query": BOOSTED}, **spread}
        raw = world.client.search(**call)
        found, outcome = ask(world, "keeping", 20, **call)
        assert outcome.status == "reranked"
        names = [hit["matched_queries"] for hit in hits(found)]
        assert names == [hit["matched_queries"] for hit in hits(raw)]
        assert all(isinstance(given, dict) is bool(with_scores) for given in names)


@pytest.mark.parametrize(
    "rest",
    [
        {"collapse": {"field": "lang", "inner_hits": {"name": "more", "size": 2}}},
        {"sort": ["_score"], "explain": True, "version": True},
        {"post_filter": {"term": {"lang": {"value": "en", "_name": "mine"}}}, "min_score": 1.0},
        {
            "highlight": {"fields": {"text": {}}},
            "suggest": {"s": {"text": "hony", "term": {"field": "text"}}},
        },
        {"_source": ["year"], "fields": ["lang"], "from": 3, "size": 4},
        {
            "aggs": {
                "hits": {
                    "terms": {"field": "lang"},
                    "aggs": {"hits": {"top_hits": {"size": 2, "_source": False}}},
                }
            }
        },
    ],
    ids=lambda rest: next(iter(rest)),
)
def test_everything_else_of_the_response_stays(world: World, rest: dict[str, Any]) -> None:
    call = {"index": world.targets[1], "body": {"query": BOOSTED, **rest}}
    raw = world.client.search(**call)
    found, outcome = ask(world, "keeping", 20, **call)
    assert outcome.status == "reranked"
    assert {**found, "took": 0} == {**raw, "took": 0}


def test_the_source_of_the_page_may_come_later(world: World) -> None:
    client = RerankingOpenSearch(
        world.client,
        RERANKERS["reversing"](),
        text_fields=NUMBER,
        policy=POLICY,
        k=20,
        payload="page",
    )
    body = {"query": BOOSTED, "size": 3, "_source": ["year"]}
    found = client.search(index=world.targets[1], body=body, rerank_query=QUERY)
    assert [list(hit["_source"]) for hit in hits(found)] == [["year"]] * 3
    assert "vecdb_rerank" not in json.dumps(found)


def test_a_rescore_is_reranked_inside_its_window(world: World) -> None:
    body = {"query": MATCH, "rescore": RESCORE, "size": 5}
    with world.watched() as log:
        _, outcome = ask(world, "reversing", 20, index=world.targets[1], body=body)
    assert json.loads(log[-1].body)["size"] == 12
    assert (outcome.status, outcome.seen) == ("reranked", 12)
    assert "12" in outcome.notes["limited_depth"]


def test_a_rescore_over_several_shards_keeps_its_order(world: World) -> None:
    body = {"query": MATCH, "rescore": RESCORE, "size": 5}
    raw = world.client.search(index=world.targets[0], body=body)
    found, outcome = ask(world, "reversing", 20, index=world.targets[0], body=body)
    assert (outcome.status, str(outcome.reason)[:8]) == ("skipped", "rescore:")
    assert [hit["_score"] for hit in hits(found)] == [hit["_score"] for hit in hits(raw)]
    assert without_hits(found) == without_hits(raw)


def test_an_msearch_says_why_it_is_not_reranked(world: World) -> None:
    client = RerankingOpenSearch(
        world.client, RERANKERS["reversing"](), text_fields=NUMBER, policy=POLICY
    )
    lines: list[Any] = [{"index": world.targets[1]}, {"query": BOOSTED}]
    lines += [{"index": world.targets[1]}, {"query": MATCH}]
    with observe() as outcomes:
        client.msearch(body=lines, rerank_query=QUERY)
    assert [outcome.status for outcome in outcomes] == ["skipped", "reranked"]
    assert str(outcomes[0].reason).startswith("function_score: ")


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"filter_path": "hits.hits._id,hits.hits._score,hits.hits._source"}, "filter_path: "),
        ({"body": {"query": MATCH, "rescore": RESCORE, "from": 5}}, "rescore: "),
        ({"body": {"query": {"function_score": {"functions": [DECAY]}}}}, "function_score: "),
        ({"body": {"query": {"hybrid": {"queries": [BOOSTED]}}}}, "function_score: "),
    ],
)
def test_a_call_that_is_passed_through_says_why(
    world: World, call: dict[str, Any], why: str
) -> None:
    arguments = {"index": world.targets[1], "body": {"query": BOOSTED}, **call}
    with world.watched() as log:
        _, outcome = ask(world, "reversing", 20, **arguments)
    assert outcome.status == "skipped"
    assert str(outcome.reason).startswith(why)
    assert json.loads(log[-1].body) == arguments["body"]


async def test_an_async_client_keeps_a_composed_score_too(world: World) -> None:
    (host,) = world.client.transport.hosts
    async with AsyncOpenSearch(hosts=[host]) as inner:
        client = AsyncRerankingOpenSearch(
            inner, RERANKERS["reversing"](), text_fields=NUMBER, policy=POLICY
        )
        call = {"index": world.targets[1], "body": {"query": BOOSTED}}
        with observe() as outcomes:
            found = await client.search(**call, rerank_query=QUERY)
    expected, _ = ask(world, "reversing", 50, **call)
    assert outcomes[0].status == "reranked"
    assert hits(found) == hits(expected)


def test_with_its_own_depth_a_page_is_reranked_by_itself(world: World) -> None:
    client = RerankingOpenSearch(
        world.client,
        RERANKERS["reversing"](),
        text_fields=NUMBER,
        policy=POLICY,
        rerank_depth="own",
    )
    for body in ({"query": BOOSTED, "from": 7}, {"query": MATCH, "rescore": RESCORE, "from": 6}):
        call = {"index": world.targets[1], "body": {**body, "size": 6}}
        raw = world.client.search(**call)
        with observe() as outcomes:
            found = client.search(**call, rerank_query=QUERY)
        assert (outcomes[0].status, outcomes[0].seen) == ("reranked", 6)
        assert {hit["_id"] for hit in hits(found)} == {hit["_id"] for hit in hits(raw)}


def test_the_stages_of_a_policy_follow_a_composed_score(world: World) -> None:
    """Neither leaves a name in the response, or in the inner hits of a collapse."""
    policy = replace(POLICY, after=(Boost({"term": {"lang": "en"}}, add=0.5), Pin(("3",))))
    client = RerankingOpenSearch(
        world.client, RERANKERS["reversing"](), text_fields=NUMBER, policy=policy, k=40
    )
    collapse = {"field": "lang", "inner_hits": {"name": "more", "size": 2}}
    for body in ({"query": BOOSTED}, {"query": MATCH, "collapse": collapse}):
        call = {"index": world.targets[1], "body": body}
        raw = world.client.search(**call)
        with observe() as outcomes:
            found = client.search(**call, rerank_query=QUERY)
        assert outcomes[0].status == "reranked"
        assert "vecdb_rerank" not in json.dumps(found)
        names = [hit["matched_queries"] for hit in hits(found)]
        assert names == [hit["matched_queries"] for hit in hits(raw)]


def test_inner_hits_are_those_that_the_query_asks_for(world: World) -> None:
    """Neither the parts of a composed score nor the filter of a boost bring some of their own."""
    index = new_name()
    parts = {"properties": {"part": {"type": "nested"}, "date": {"type": "date"}}}
    world.client.indices.create(index=index, body={"mappings": parts})
    try:
        for n in range(3):
            text = "honey bees" + n * " hive"
            body = {"text": text, "part": [{"size": n}, {"size": 7}], "meta": {"n": n}}
            world.client.index(index=index, id=str(n), body=body, refresh=True)
        nested = {"path": "part", "query": {"term": {"part.size": 7}}, "inner_hits": {"size": 1}}
        query = {"bool": {"must": [MATCH, {"nested": nested}]}}
        policy = replace(POLICY, after=(Boost({"nested": nested}, factor=1.5),))
        client = RerankingOpenSearch(
            world.client, RERANKERS["reversing"](), text_fields=NUMBER, policy=policy
        )
        for asked in (
            {"boosting": {"positive": query, "negative": IDS, "negative_boost": 0.5}},
            {"bool": {"must": query, "should": {"function_score": {"functions": [DECAY]}}}},
            MATCH,
        ):
            call: dict[str, Any] = {"index": index, "body": {"query": asked}}
            raw = {hit["_id"]: hit.get("inner_hits") for hit in hits(world.client.search(**call))}
            with observe() as outcomes:
                found = client.search(**call, rerank_query=QUERY)
            assert outcomes[0].status == "reranked", outcomes[0].reason
            assert {hit["_id"]: hit.get("inner_hits") for hit in hits(found)} == raw
    finally:
        world.client.indices.delete(index=index)
