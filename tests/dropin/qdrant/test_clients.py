"""The drop-in clients, a call and a field at a time: the rows of docs/drop_in.md."""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
import typing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from tests.dropin.qdrant.collection import (
    DENSE,
    MANY,
    SPARSE,
    AsyncRecording,
    Recording,
    World,
    fill,
    opened,
    point_id,
)
from vecdb_rerank import (
    ConfigurationError,
    Deadline,
    Policy,
    RerankError,
    Scores,
    TextFields,
    observe,
    rerank_query,
)
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.search import dropin
from vecdb_rerank.testing import KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_qdrant import (
    AsyncRerankingQdrantClient,
    Bm25,
    RerankingQdrantClient,
    deepen,
    plain,
    request_reader,
)

QUERY = "harbour"
VECTOR = [1.0, 0.25, 0.5, 0.75]
POLICY = Policy(deadline=None, breaker=None, blend=Blend("replace"))
METHODS = ("query_points", "query_batch_points", "query_points_groups")
WORDS = Bm25().query("harbour lantern")


@pytest.fixture(scope="module")
def local() -> Iterator[World]:
    with opened("qdrant-local") as filled:
        yield filled


def wrap(world: World, reranker: Any = None, **options: Any) -> Any:
    world.calls.clear()
    reranker = reranker or ReversingReranker()
    return RerankingQdrantClient(world.client, reranker, **{"policy": POLICY, **options})


def ask(world: World, client: Any = None, **arguments: Any) -> tuple[Any, Any]:
    """The response of one query, and its outcome."""
    arguments = {"rerank_query": QUERY, "limit": 5, **arguments}
    with observe() as outcomes:
        response = (client or wrap(world)).query_points(world.name, **arguments)
    (outcome,) = outcomes
    return response, outcome


def obstacle(arguments: dict[str, Any]) -> str | None:
    return request_reader.obstacle(plain.request(arguments))


# -- the client's own signature and everything else of it


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("raw", "ours"),
    [
        (QdrantClient, RerankingQdrantClient),
        (AsyncQdrantClient, AsyncRerankingQdrantClient),
    ],
)
def test_signatures_are_the_clients_and_three_keywords(method: str, raw: Any, ours: Any) -> None:
    theirs = inspect.signature(getattr(raw, method), eval_str=True).parameters
    mine = dict(inspect.signature(getattr(ours, method), eval_str=True).parameters)
    for name in ("rerank_query", "instruction", "rerank"):
        added = mine.pop(name)
        assert added.kind is inspect.Parameter.KEYWORD_ONLY
        assert added.default is (True if name == "rerank" else None)
    assert list(mine) == list(theirs)
    for name, parameter in theirs.items():
        assert (mine[name].kind, mine[name].default) == (parameter.kind, parameter.default)
        assert kind_of(mine[name].annotation) == kind_of(parameter.annotation)


def kind_of(annotation: Any) -> Any:
    """An annotation, the same from `typing` and from `collections.abc`."""
    return typing.get_origin(annotation) or annotation, typing.get_args(annotation)


def test_arguments_by_position_are_those_of_the_client(local: World) -> None:
    client = wrap(local)
    client.query_points(local.name, VECTOR, DENSE, None, None, None, 4, 0, False)
    (call,) = local.calls
    assert call.arguments["limit"] == 4
    assert call.arguments["with_payload"] is False


def test_it_is_a_qdrant_client_and_everything_else_is_the_wrapped_ones(local: World) -> None:
    client: Any = wrap(local)
    assert issubclass(type(client), QdrantClient)
    assert client.count(local.name).count == 130
    assert client._client is local.client._client
    assert client.init_options is local.client.init_options
    assert client.calls is local.calls  # an attribute of the wrapped client's own class
    assert client.retrieve(local.name, [2])[0].id == 2
    assert set(dir(client)) == set(dir(local.client))
    client.marked = True
    assert local.client.marked
    del client.marked
    assert not hasattr(local.client, "marked")
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = client.no_such_thing
    assert "RerankingQdrantClient(" in repr(client)


def test_the_wrapped_client_outlives_its_wrapper_and_is_closed_with_it() -> None:
    inner = QdrantClient(":memory:")
    client = RerankingQdrantClient(inner, KeepingReranker())
    del client
    gc.collect()
    assert inner.get_collections().collections == []
    RerankingQdrantClient(inner, KeepingReranker()).close()
    with pytest.raises(RuntimeError, match="closed"):
        inner.get_collections()


async def test_an_async_wrapper_closes_the_wrapped_client() -> None:
    inner = AsyncQdrantClient(":memory:")
    await AsyncRerankingQdrantClient(inner, KeepingReranker()).close()
    with pytest.raises(RuntimeError, match="closed"):
        await inner.get_collections()


# -- query_points: queries that are reranked

RERANKED: dict[str, dict[str, Any]] = {
    "vector": {"query": VECTOR, "using": DENSE},
    "array": {"query": np.array(VECTOR), "using": DENSE},
    "nearest": {"query": models.NearestQuery(nearest=VECTOR), "using": DENSE},
    "sparse": {"query": WORDS, "using": SPARSE},
    "multivector": {"query": [VECTOR, VECTOR], "using": MANY},
    "point id": {"query": point_id(1), "using": DENSE},
    "rrf": {
        "query": models.FusionQuery(fusion=models.Fusion.RRF),
        "prefetch": [
            models.Prefetch(query=VECTOR, using=DENSE),
            models.Prefetch(query=WORDS, using=SPARSE),
        ],
    },
    "weighed rrf": {
        "query": models.RrfQuery(rrf=models.Rrf(k=60)),
        "prefetch": [models.Prefetch(query=VECTOR, using=DENSE)],
    },
    "dbsf": {
        "query": models.FusionQuery(fusion=models.Fusion.DBSF),
        "prefetch": [models.Prefetch(query=VECTOR, using=DENSE)],
    },
    "weighed scores": {
        "query": models.FormulaQuery(
            formula=models.SumExpression(
                sum=[
                    models.MultExpression(mult=[0.7, "$score[0]"]),
                    models.MultExpression(mult=[0.3, "$score[1]"]),
                ]
            ),
            defaults={"$score[0]": 0.0, "$score[1]": 0.0},
        ),
        "prefetch": [
            models.Prefetch(query=VECTOR, using=DENSE, limit=30),
            models.Prefetch(query=WORDS, using=SPARSE, limit=30),
        ],
    },
    "rescoring": {
        "query": VECTOR,
        "using": DENSE,
        "prefetch": models.Prefetch(
            query=VECTOR,
            using=DENSE,
            prefetch=[models.Prefetch(query=WORDS, using=SPARSE, limit=40)],
            limit=30,
        ),
    },
}


@pytest.mark.parametrize("kind", RERANKED)
def test_queries_that_are_reranked(world: World, kind: str) -> None:
    response, outcome = ask(world, **RERANKED[kind])
    assert outcome.status == "reranked"
    assert outcome.backend == "qdrant"
    assert outcome.seen >= 10
    assert len(response.points) == 5
    (call,) = world.calls
    ids = [p.id for p in call.response.points]
    assert ids.index(response.points[0].id) > 5  # from beyond the page that was asked for


def test_a_fusion_has_deeper_branches_and_a_funnel_has_its_own(world: World) -> None:
    _, outcome = ask(world, wrap(world, k=35), **RERANKED["rrf"])
    (call,) = world.calls
    assert [branch.limit for branch in call.arguments["prefetch"]] == [35, 35]
    assert outcome.seen > 30
    assert "own_depth" not in outcome.notes
    _, outcome = ask(world, wrap(world, k=35), **RERANKED["rescoring"])
    (call,) = world.calls
    assert call.arguments["prefetch"] is RERANKED["rescoring"]["prefetch"]
    assert outcome.seen == 30
    assert "30" in outcome.notes["own_depth"]


def test_a_funnel_returns_what_it_returns_by_itself(world: World) -> None:
    """The prefetch's limit is a part of the query: other documents are no hits of it."""
    late = {"query": [VECTOR, VECTOR[::-1]], "using": MANY, "limit": 12}
    late["prefetch"] = models.Prefetch(query=VECTOR, using=DENSE, limit=12)
    response, outcome = ask(world, wrap(world, KeepingReranker()), **late)
    raw = world.client.query_points(collection_name=world.name, **late)
    # A server orders equal scores differently from call to call.
    assert {p.id for p in response.points} == {p.id for p in raw.points}
    assert len(response.points) == outcome.seen == 12


def test_with_its_own_depth_each_page_is_reranked_by_itself(world: World) -> None:
    client = wrap(world, rerank_depth="own")
    for offset in (0, 7, 60):
        arguments = {"query": VECTOR, "using": DENSE, "limit": 7, "offset": offset}
        response, outcome = ask(world, client, **arguments)
        sent = world.calls[-1].arguments
        assert (sent["limit"], sent["offset"], outcome.seen) == (7, offset, 7)
        raw = world.client.query_points(collection_name=world.name, **arguments)
        assert {p.id for p in response.points} == {p.id for p in raw.points}
        assert outcome.status == "reranked"


# -- the query text


def test_a_document_tells_the_query_text(world: World) -> None:
    document = models.Document(text="harbour lantern", model="qdrant/bm25")
    assert request_reader.texts(plain.request({"query": document})) == ("harbour lantern",)
    if world.local:  # local mode has no model to embed one
        return
    _, outcome = ask(world, rerank_query=None, query=document, using=SPARSE)
    assert (outcome.status, outcome.mode) == ("reranked", "bm25")


TEXT = models.Document(text="one", model="m")
OTHER = models.Document(text="two", model="m")


@pytest.mark.parametrize(
    ("request_", "texts"),
    [
        ({"query": models.NearestQuery(nearest=TEXT)}, ("one",)),
        ({"query": models.TextQuery(text="three")}, ("three",)),
        ({"query": models.TextQuery(text=models.TextQueryInput(query="three"))}, ("three",)),
        (
            {
                "query": models.FusionQuery(fusion=models.Fusion.RRF),
                "prefetch": [
                    models.Prefetch(query=TEXT),
                    models.Prefetch(prefetch=models.Prefetch(query=OTHER), query=VECTOR),
                ],
            },
            ("one", "two"),
        ),
        ({"query": VECTOR, "prefetch": {"query": TEXT}}, ("one",)),
    ],
)
def test_texts_are_found_anywhere_in_a_request(
    request_: dict[str, Any], texts: tuple[str, ...]
) -> None:
    assert request_reader.texts(plain.request(request_)) == texts


def test_without_a_text_a_request_is_sent_as_it_is(local: World) -> None:
    for blank in (None, "", "  "):
        response, outcome = ask(local, query=VECTOR, using=DENSE, rerank_query=blank)
        (call,) = local.calls
        assert (outcome.status, outcome.reason) == (
            "skipped",
            "no query: the request holds no text, and no rerank_query was given",
        )
        assert call.arguments["limit"] == 5
        assert response == call.response


def test_that_a_search_is_not_reranked_for_want_of_a_text_is_said_once(
    local: World, caplog: pytest.LogCaptureFixture
) -> None:
    dropin._warn_once.cache_clear()
    for _ in range(2):
        ask(local, query=VECTOR, using=DENSE, rerank_query=None)
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "holds no text; give rerank_query=" in said.message


def test_without_a_text_or_with_two_a_client_may_refuse(local: World) -> None:
    client = wrap(local, on_missing_query="raise")
    with pytest.raises(ConfigurationError, match=r"rerank_query: .*holds no text"):
        client.query_points(local.name, VECTOR, DENSE)
    two = [models.Prefetch(query=TEXT), models.Prefetch(query=OTHER)]
    with pytest.raises(ConfigurationError, match=r"rerank_query: .*holds several texts"):
        client.query_points(local.name, VECTOR, DENSE, prefetch=two)
    assert local.calls == []
    client.query_points(local.name, VECTOR, DENSE, rerank=False)
    client.query_points(local.name, models.SampleQuery(sample=models.Sample.RANDOM))
    assert len(local.calls) == 2


def test_a_block_gives_the_text_to_calls_without_one(local: World) -> None:
    seen: list[str] = []

    class Listening(KeepingReranker):
        def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
            seen.append(query)
            return super().score(query, documents, deadline=deadline)

    client = wrap(local, Listening())
    with rerank_query("of the block"):
        client.query_points(local.name, VECTOR, DENSE)
        client.query_points(local.name, VECTOR, DENSE, rerank_query="of the call")
    client.query_points(local.name, VECTOR, DENSE)
    assert seen == ["of the block", "of the call"]


# -- query_points: queries that are passed through

PASSED: dict[str, dict[str, Any]] = {
    "recommend": {
        "query": models.RecommendQuery(recommend=models.RecommendInput(positive=[point_id(1)])),
        "using": DENSE,
    },
    "discover": {
        "query": models.DiscoverQuery(
            discover=models.DiscoverInput(
                target=point_id(1),
                context=[models.ContextPair(positive=point_id(1), negative=point_id(2))],
            )
        ),
        "using": DENSE,
    },
    "context": {
        "query": models.ContextQuery(
            context=[models.ContextPair(positive=point_id(1), negative=point_id(2))]
        ),
        "using": DENSE,
    },
    "order_by": {"query": models.OrderByQuery(order_by=models.OrderBy(key="meta.n"))},
    "sample": {"query": models.SampleQuery(sample=models.Sample.RANDOM)},
    "mmr": {"query": models.NearestQuery(nearest=VECTOR, mmr=models.Mmr()), "using": DENSE},
    "no query": {"query": None},
    "prefetch: formula": {
        "query": models.FusionQuery(fusion=models.Fusion.RRF),
        "prefetch": models.Prefetch(
            query=models.FormulaQuery(
                formula=models.SumExpression(sum=["$score", "meta.n"]), defaults={"meta.n": 0.0}
            ),
            prefetch=models.Prefetch(query=VECTOR, using=DENSE),
        ),
    },
    "prefetch: order_by": {
        "query": models.FusionQuery(fusion=models.Fusion.RRF),
        "prefetch": [
            models.Prefetch(query=VECTOR, using=DENSE),
            models.Prefetch(query=models.OrderByQuery(order_by=models.OrderBy(key="meta.n"))),
        ],
    },
}


@pytest.mark.parametrize("kind", PASSED)
def test_queries_that_are_passed_through(world: World, kind: str) -> None:
    response, outcome = ask(world, **PASSED[kind])
    (call,) = world.calls
    assert outcome.status == "skipped"
    assert outcome.reason.startswith(kind)
    assert call.arguments["limit"] == 5
    assert call.arguments["query"] is PASSED[kind]["query"]
    assert response == call.response


def test_hits_drawn_by_chance_in_a_prefetch_are_passed_through(world: World) -> None:
    drawn = models.Prefetch(query=models.SampleQuery(sample=models.Sample.RANDOM))
    response, outcome = ask(world, query=VECTOR, using=DENSE, prefetch=drawn)
    (call,) = world.calls
    assert outcome.reason == "sample: hits of a prefetch are drawn at random"
    assert call.arguments["prefetch"] is drawn
    assert response == call.response


def test_relevance_feedback_is_passed_through() -> None:
    feedback = models.RelevanceFeedbackQuery(
        relevance_feedback=models.RelevanceFeedbackInput(
            target=VECTOR,
            feedback=[],
            strategy=models.NaiveFeedbackStrategy(
                naive=models.NaiveFeedbackStrategyParams(a=1.0, b=1.0, c=1.0)
            ),
        )
    )
    request = {"query": feedback, "using": DENSE}
    assert str(obstacle(request)).startswith("relevance_feedback")
    assert deepen(request) is request


# -- query_points: the other fields


def test_every_other_argument_is_sent_as_it_is(local: World) -> None:
    given: dict[str, Any] = {
        "query_filter": models.Filter(must=[models.HasIdCondition(has_id=[2, 3, 5])]),
        "score_threshold": 0.5,
        "lookup_from": models.LookupLocation(collection=local.name, vector=DENSE),
        "consistency": models.ReadConsistencyType.ALL,
        "shard_key_selector": "eu",
        "timeout": 7,
        "with_vectors": [DENSE],
    }
    ask(local, query=point_id(1), using=DENSE, **given)
    (call,) = local.calls
    assert all(call.arguments[name] is value for name, value in given.items())


def test_an_argument_that_the_client_does_not_know_is_refused_by_it(local: World) -> None:
    with pytest.raises(AssertionError, match=r"Unknown arguments: .*append_payload"):
        ask(local, query=VECTOR, using=DENSE, append_payload=True)


def test_what_qdrant_says_of_a_bad_request_reaches_the_caller(world: World) -> None:
    client = wrap(world)
    with pytest.raises(Exception) as raw:  # each mode has its own
        world.client.query_points(collection_name="no-such-collection", query=VECTOR)
    with pytest.raises(type(raw.value), match="no-such-collection"):
        client.query_points("no-such-collection", VECTOR, rerank_query=QUERY)


def test_ten_hits_are_the_default_and_offset_pages_over_the_reranked_ones(world: World) -> None:
    client = wrap(world, k=20)
    arguments = {"query": VECTOR, "using": DENSE, "rerank_query": QUERY}
    whole = client.query_points(world.name, limit=20, **arguments).points
    first = client.query_points(world.name, **arguments).points
    second = client.query_points(world.name, offset=10, **arguments).points
    assert [p.id for p in first + second] == [p.id for p in whole]


def test_a_limit_of_nothing_is_sent_as_it_is(local: World) -> None:
    assert str(obstacle({"query": VECTOR, "limit": 0})).startswith("limit: 0")
    assert str(obstacle({"query": VECTOR, "limit": "many"})).startswith("limit, offset")


@pytest.mark.parametrize(
    ("selector", "seen"),
    [
        (True, {"title", "text", "topic", "meta", "tags", "a.b", "with space", "none", "empty"}),
        (False, None),
        (None, None),
        (["meta.n"], {"meta"}),
        (["tags[].a", "nothing"], {"tags"}),
        ([], set()),
        (models.PayloadSelectorInclude(include=["text", "meta.deep.a"]), {"text", "meta"}),
        (models.PayloadSelectorExclude(exclude=["text", "meta", "tags"]), None),
    ],
)
def test_the_payload_is_what_was_asked_for(world: World, selector: Any, seen: Any) -> None:
    response, outcome = ask(world, query=VECTOR, using=DENSE, with_payload=selector)
    assert outcome.status == "reranked"
    assert (outcome.empty, outcome.scored) == (0, outcome.seen)
    raw = world.client.query_points(
        collection_name=world.name, query=VECTOR, using=DENSE, limit=130, with_payload=selector
    )
    payloads = {p.id: p.payload for p in raw.points}
    assert [p.payload for p in response.points] == [payloads[p.id] for p in response.points]
    if seen is not None:
        shown = [set(p.payload or {}) - {"sometimes"} for p in response.points]
        assert shown == [seen] * 5


@pytest.mark.parametrize("kind", [models.PayloadSelectorInclude, models.PayloadSelectorExclude])
@pytest.mark.parametrize("path", ["tags", "tags[]", "tags.a", "tags[].a", "tags[].b", "tags[0].a"])
def test_selectors_inside_lists_mean_what_they_mean_to_qdrant(
    world: World, kind: Any, path: str
) -> None:
    selector = kind(**{next(iter(kind.model_fields)): [path]})
    client = wrap(world, text_fields=TextFields(("tags.a",)))
    response, outcome = ask(world, client, query=VECTOR, using=DENSE, with_payload=selector)
    ids = [p.id for p in response.points]
    raw = world.client.retrieve(world.name, ids, with_payload=selector)
    payloads = {record.id: record.payload or None for record in raw}
    assert [p.payload or None for p in response.points] == [payloads[n] for n in ids]
    assert (outcome.status, outcome.scored) == ("reranked", outcome.seen)


@pytest.mark.parametrize("wanted", [["meta.n"], True, False])
def test_the_selector_of_grpc_is_understood(world: World, wanted: Any) -> None:
    if world.local:
        pytest.skip("local mode takes none")
    selector = RestToGrpc.convert_with_payload_interface(wanted)
    response, outcome = ask(world, query=VECTOR, using=DENSE, with_payload=selector)
    same, _ = ask(world, query=VECTOR, using=DENSE, with_payload=wanted)
    assert outcome.scored == outcome.seen > 0
    assert [p.payload for p in response.points] == [p.payload for p in same.points]


def test_with_vectors_brings_the_vectors(world: World) -> None:
    response, _ = ask(world, query=VECTOR, using=DENSE, with_vectors=[DENSE])
    assert all(len(p.vector[DENSE]) == 4 for p in response.points)


def test_a_threshold_is_one_of_first_pass_scores(world: World) -> None:
    response, outcome = ask(world, query=VECTOR, using=DENSE, score_threshold=0.95, limit=100)
    assert outcome.status == "reranked"
    assert all(score >= 0.95 for score in outcome.first_pass_score.values())
    assert len(response.points) == len(outcome.first_pass_score) < 100


def test_distances_are_reranked_from_the_nearest(world: World) -> None:
    response, outcome = ask(world, wrap(world, KeepingReranker()), query=VECTOR, using="distant")
    (call,) = world.calls
    nearest = min(p.score for p in call.response.points)
    assert outcome.first_pass_score[response.points[0].id] == nearest
    scores = [p.score for p in response.points]
    assert scores == sorted(scores, reverse=True)


# -- rerank


def test_rerank_false_sends_the_request_as_it_is(world: World) -> None:
    response, outcome = ask(world, query=VECTOR, using=DENSE, rerank=False)
    (call,) = world.calls
    assert (outcome.status, outcome.reason) == ("skipped", "rerank=False")
    assert response == call.response


def test_a_policy_is_that_of_one_call(local: World) -> None:
    client = wrap(local)
    strict = Policy(deadline=None, min_relevance=0.5, blend=Blend("replace"))
    arguments = {"query": VECTOR, "using": DENSE, "limit": 100}
    kept, _ = ask(local, client, rerank=strict, **arguments)
    everything, _ = ask(local, client, **arguments)
    assert 0 < len(kept.points) < len(everything.points)
    assert all(p.score >= 0.5 for p in kept.points[:10])


@pytest.mark.parametrize(
    ("key", "value"),
    [("k", 0), ("rerank_depth", "deep"), ("on_missing_query", "explode"), ("reranker", "best")],
)
def test_wrong_options_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RerankingQdrantClient(QdrantClient(":memory:"), **{"reranker": None, key: value})
    assert caught.value.key == key


def test_a_wrong_rerank_argument_is_refused_before_anything_is_sent(local: World) -> None:
    client = wrap(local)
    for wrong in ({"rerank": "no"}, {"rerank_query": 3}):
        with pytest.raises(ConfigurationError) as caught:
            client.query_points(local.name, VECTOR, DENSE, **wrong)
        assert [caught.value.key] == list(wrong)
    assert local.calls == []


def test_the_other_kind_of_client_is_refused(local: World) -> None:
    other: Any = AsyncQdrantClient(":memory:")
    with pytest.raises(ConfigurationError, match="AsyncRerankingQdrantClient"):
        RerankingQdrantClient(other, None)
    with pytest.raises(ConfigurationError, match="RerankingQdrantClient"):
        AsyncRerankingQdrantClient(local.client, None)


# -- failures and deadlines


def test_a_failing_reranker_leaves_the_databases_order_and_scores(world: World) -> None:
    response, outcome = ask(world, wrap(world, RaisingReranker()), query=VECTOR, using=DENSE)
    (call,) = world.calls
    assert outcome.status == "fell_back"
    top = sorted((p.score for p in call.response.points), reverse=True)[:5]
    assert [p.score for p in response.points] == top


def test_a_failing_reranker_raises_where_the_policy_says_so(local: World) -> None:
    policy = Policy(on_error="raise", breaker=None)
    with observe() as outcomes, pytest.raises(RerankError):
        wrap(local, RaisingReranker(), policy=policy).query_points(
            local.name, VECTOR, DENSE, rerank_query=QUERY
        )
    assert [o.status for o in outcomes] == ["fell_back"]


def test_a_first_pass_that_used_up_the_deadline_is_given_back(local: World) -> None:
    class Slow(Recording):
        def query_points(self, *args: Any, **kwargs: Any) -> Any:
            time.sleep(0.02)
            return super().query_points(*args, **kwargs)

    with opened("qdrant-local") as world:
        world.client.__class__ = Slow
        client = wrap(world, policy=Policy(deadline=0.01, breaker=None))
        response, outcome = ask(world, client, query=VECTOR, using=DENSE)
    assert outcome.status == "fell_back"
    assert "deadline" in outcome.reason
    assert len(response.points) == 5


def test_hits_without_text_follow_and_equal_texts_stay_together() -> None:
    raw = QdrantClient(":memory:")
    raw.create_collection("c", models.VectorParams(size=1, distance=models.Distance.DOT))
    bodies = ["a", None, "b", "a", "", "c"]
    raw.upsert(
        "c",
        [
            models.PointStruct(id=n, vector=[10.0 - n], payload={"text": body})
            for n, body in enumerate(bodies)
        ],
    )
    client = RerankingQdrantClient(raw, ReversingReranker(), policy=POLICY)
    with observe() as outcomes:
        points = client.query_points("c", [1.0], rerank_query=QUERY).points
    assert [p.id for p in points] == [5, 2, 0, 3, 1, 4]
    scores = [p.score for p in points]
    assert scores == sorted(scores, reverse=True)
    assert (outcomes[0].seen, outcomes[0].scored, outcomes[0].empty) == (6, 4, 2)


def test_without_text_in_any_hit_the_outcome_says_what_to_set(local: World) -> None:
    client = wrap(local, text_fields=TextFields(("body",)))
    response, outcome = ask(local, client, query=VECTOR, using=DENSE, with_payload=["title"])
    assert outcome.status == "skipped"
    assert "no hit has text in body" in outcome.reason
    assert all(set(p.payload) == {"title"} for p in response.points)


# -- batches


def requests() -> list[models.QueryRequest]:
    return [
        models.QueryRequest(query=VECTOR, using=DENSE, limit=3),
        models.QueryRequest(query=WORDS, using=SPARSE, limit=4, with_payload=["meta.n"]),
        models.QueryRequest(query=models.SampleQuery(sample=models.Sample.RANDOM), limit=2),
    ]


def test_each_query_of_a_batch_has_an_outcome_of_its_own(world: World) -> None:
    client, given = wrap(world), requests()
    with observe() as outcomes:
        responses = client.query_batch_points(world.name, given, rerank_query=QUERY)
    (call,) = world.calls
    assert [o.status for o in outcomes] == ["reranked", "reranked", "skipped"]
    assert [o.mode for o in outcomes[:2]] == ["dense", "sparse"]
    assert [len(r.points) for r in responses] == [3, 4, 2]
    assert responses[0].points[0].payload is None
    assert all(set(p.payload) == {"meta"} for p in responses[1].points)
    assert call.arguments["requests"][2] is given[2]
    assert [r.limit for r in given] == [3, 4, 2]


def test_queries_and_policies_of_a_batch_may_be_given_one_by_one(local: World) -> None:
    client, given = wrap(local), requests()
    policy = Policy(deadline=None, min_relevance=0.5, blend=Blend("replace"))
    with observe() as outcomes:
        client.query_batch_points(
            local.name,
            [given[0], given[0], given[1]],
            rerank_query=["a", "b", None],
            rerank=[False, policy, True],
        )
    assert [o.reason for o in outcomes] == [
        "rerank=False",
        None,
        "no query: the request holds no text, and no rerank_query was given",
    ]
    for wrong in ({"rerank_query": ["a", "b"]}, {"rerank": [True]}, {"rerank": None}):
        with pytest.raises(ConfigurationError) as caught:
            client.query_batch_points(local.name, given, **wrong)
        assert [caught.value.key] == list(wrong)


def test_a_batch_that_is_not_reranked_is_sent_as_it_is(local: World) -> None:
    client, given = wrap(local), requests()
    responses = client.query_batch_points(local.name, given)
    (call,) = local.calls
    assert call.arguments["requests"] is given
    assert responses == call.response
    assert client.query_batch_points(local.name, []) == []
    assert len(client.query_batch_points(local.name, iter(given), rerank_query=QUERY)) == 3


def test_one_failing_rerank_of_a_batch_leaves_the_others_alone(local: World) -> None:
    class Moody(ReversingReranker):
        def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
            if query == "bad":
                raise ConnectionError
            return super().score(query, documents, deadline=deadline)

    client = wrap(local, Moody(), policy=Policy(on_error="raise", breaker=None))
    with observe() as outcomes:
        responses = client.query_batch_points(
            local.name, [requests()[0]] * 3, rerank_query=["good", "bad", "good"]
        )
    assert [o.status for o in outcomes] == ["reranked", "fell_back", "reranked"]
    assert responses[0] == responses[2]
    assert [len(r.points) for r in responses] == [3, 3, 3]


# -- groups


def test_groups_keep_their_sizes_and_their_records(world: World) -> None:
    client = wrap(world)
    arguments: dict[str, Any] = {
        "group_by": "topic",
        "query": VECTOR,
        "using": DENSE,
        "limit": 2,
        "group_size": 4,
        "with_payload": ["title"],
    }
    with observe() as outcomes:
        result = client.query_points_groups(world.name, rerank_query=QUERY, **arguments)
    (call,) = world.calls
    (outcome,) = outcomes
    assert outcome.status == "reranked"
    assert call.arguments["limit"] == 13  # groups of 4, for 50 hits in all
    assert [len(group.hits) for group in result.groups] == [4, 4]
    topics = {group.id: {hit.id for hit in group.hits} for group in call.response.groups}
    assert all({hit.id for hit in group.hits} == topics[group.id] for group in result.groups)
    assert all(set(hit.payload) == {"title"} for group in result.groups for hit in group.hits)
    best = [group.hits[0].score for group in result.groups]
    assert best == sorted(best, reverse=True)


def test_the_records_that_groups_look_up_stay_theirs(world: World) -> None:
    result = wrap(world).query_points_groups(
        world.name,
        "meta.deep.a",
        VECTOR,
        DENSE,
        with_lookup=models.WithLookup(collection=world.name, with_payload=["title"]),
        rerank_query=QUERY,
    )
    found = {group.id: group.lookup for group in result.groups}
    assert sorted(found) == [0, 1, 2, 3, 4]  # of the points with these ids, two are there
    assert {n: record.id for n, record in found.items() if record is not None} == {2: 2, 3: 3}


def test_groups_are_passed_through_like_points(world: World) -> None:
    with observe() as outcomes:
        result = wrap(world).query_points_groups(
            world.name, "topic", **PASSED["recommend"], rerank_query=QUERY
        )
    (call,) = world.calls
    assert str(outcomes[0].reason).startswith("recommend")
    assert result == call.response
    assert call.arguments["limit"] == 10


# -- async, threads, tasks


@pytest.fixture
async def shop() -> typing.AsyncIterator[tuple[Any, str]]:
    filled: Any = QdrantClient(":memory:")
    fill(filled, "shop")
    client: Any = AsyncRecording(":memory:")
    client.calls = []
    client._client.collections = filled._client.collections  # one memory for both
    yield client, "shop"
    await client.close()


async def test_an_async_client_is_reranked_alike(shop: tuple[Any, str], local: World) -> None:
    inner, name = shop
    client = AsyncRerankingQdrantClient(inner, ReversingReranker(), policy=POLICY)
    assert isinstance(client, AsyncQdrantClient)
    sync = wrap(local)
    arguments: dict[str, Any] = {"query": VECTOR, "using": DENSE, "rerank_query": QUERY}
    with observe() as outcomes:
        points = await client.query_points(name, **arguments)
        groups = await client.query_points_groups(name, "topic", **arguments)
        batch = await client.query_batch_points(name, requests()[:2], rerank_query=QUERY)
    assert points == sync.query_points(local.name, **arguments)
    assert groups == sync.query_points_groups(local.name, "topic", **arguments)
    assert batch == sync.query_batch_points(local.name, requests()[:2], rerank_query=QUERY)
    assert [o.status for o in outcomes] == ["reranked"] * 4
    assert (await client.count(name)).count == 130


def test_an_async_client_of_a_server_is_reranked_alike(world: World) -> None:
    if world.local:
        return  # its memory is its own: see the test above

    async def ask_again() -> Any:
        inner = AsyncQdrantClient(**world.client.init_options)
        client = AsyncRerankingQdrantClient(inner, ReversingReranker(), policy=POLICY)
        try:
            return await client.query_points(world.name, VECTOR, DENSE, rerank_query=QUERY)
        finally:
            await client.close()

    expected = wrap(world).query_points(world.name, VECTOR, DENSE, rerank_query=QUERY)
    assert asyncio.run(ask_again()) == expected


class Waiting:
    """Waits for ever, and records that it was cancelled."""

    name = "waiting"

    def __init__(self) -> None:
        self.started, self.cancelled = asyncio.Event(), 0

    async def score_async(self, query: str, documents: Sequence[str]) -> Scores:
        self.started.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("it was not cancelled")


@pytest.mark.parametrize("batched", [False, True])
async def test_a_cancelled_task_cancels_the_rerank(shop: tuple[Any, str], batched: bool) -> None:
    inner, name = shop
    reranker = Waiting()
    client = AsyncRerankingQdrantClient(inner, reranker, policy=POLICY)
    call: Any = (
        client.query_batch_points(name, requests()[:2], rerank_query=QUERY)
        if batched
        else client.query_points(name, VECTOR, DENSE, rerank_query=QUERY)
    )
    task = asyncio.ensure_future(call)
    await asyncio.wait_for(reranker.started.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reranker.cancelled == (2 if batched else 1)


class Echoing:
    """Puts the document first whose number is the query's."""

    name = "echoing"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        time.sleep(0.001)
        return Scores.from_relevance([float(f"number{query}" in d.split()) for d in documents])


def test_threads_share_a_client_without_mixing_queries() -> None:
    client: Any = QdrantClient(":memory:", force_disable_check_same_thread=True)
    fill(client, "shop")
    shared = RerankingQdrantClient(
        client, Echoing(), policy=POLICY, k=130, text_fields=TextFields(("text",))
    )

    def work(n: int) -> bool:
        with observe() as outcomes:
            response = shared.query_points("shop", VECTOR, DENSE, rerank_query=str(n))
        return response.points[0].id == point_id(n) and len(outcomes) == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


async def test_tasks_share_a_client_without_mixing_queries(shop: tuple[Any, str]) -> None:
    inner, name = shop
    shared = AsyncRerankingQdrantClient(
        inner, Echoing(), policy=POLICY, k=130, text_fields=TextFields(("text",))
    )

    async def work(n: int) -> bool:
        with observe() as outcomes:
            response = await shared.query_points(name, VECTOR, DENSE, rerank_query=str(n))
        return response.points[0].id == point_id(n) and len(outcomes) == 1

    assert all(await asyncio.gather(*map(work, range(64))))
