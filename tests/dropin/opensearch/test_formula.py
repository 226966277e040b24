"""A score that the caller composes stays composed: its parts come beside the search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.dropin.opensearch import generated
from tests.dropin.opensearch.formulas import Composed, composed
from tests.dropin.opensearch.test_properties import POLICY, QUERY, RERANKERS, properties
from tests.dropin.opensearch.world import World
from vecdb_rerank import Outcome, TextFields, observe
from vecdb_rerank_opensearch import RerankingOpenSearch

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
