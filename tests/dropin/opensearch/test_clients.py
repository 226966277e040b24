"""The drop-in clients: who they are, what else they do, sync and async, failures."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.exceptions import NotFoundError, RequestError
from opensearchpy.helpers import scan
from opensearchpy.helpers.search import Search

from tests.dropin.opensearch.world import World
from tests.servers import free_port
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
from vecdb_rerank.testing import KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch, reranking_client

POLICY = Policy(deadline=None, breaker=None, blend=Blend("replace"))
BODY: dict[str, Any] = {"query": {"match": {"text": "honey bees"}}, "size": 5}


def wrapped(world: World, reranker: Any = None, **options: Any) -> Any:
    options = {"policy": POLICY, "k": 20, **options}
    return RerankingOpenSearch(world.client, reranker or ReversingReranker(), **options)


def ids(response: Any) -> list[str]:
    return [hit["_id"] for hit in response["hits"]["hits"]]


# -- who they are


@pytest.mark.parametrize("name", ["search", "msearch"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(RerankingOpenSearch, OpenSearch), (AsyncRerankingOpenSearch, AsyncOpenSearch)],
)
def test_signatures_are_opensearch_pys_and_three_keywords_more(
    ours: Any, theirs: Any, name: str
) -> None:
    signature = inspect.signature(getattr(ours, name))
    *parameters, query, rerank, instruction, others = signature.parameters.values()
    native = inspect.signature(getattr(theirs, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in parameters] == [
        (p.name, p.kind, p.default) for p in native
    ]
    assert others.kind is inspect.Parameter.VAR_KEYWORD  # the URL's, which the client takes too
    ours_is, theirs_is = (inspect.iscoroutinefunction(getattr(one, name)) for one in (ours, theirs))
    assert ours_is is theirs_is
    assert [(p.name, p.kind, p.default) for p in (query, rerank, instruction)] == [
        ("rerank_query", inspect.Parameter.KEYWORD_ONLY, None),
        ("rerank", inspect.Parameter.KEYWORD_ONLY, True),
        ("instruction", inspect.Parameter.KEYWORD_ONLY, None),
    ]


def test_a_wrapped_client_is_one_of_the_client_s_class() -> None:
    class Mine(OpenSearch):
        def mine(self) -> str:
            return "mine"

    client: Any = Mine("http://localhost:1")
    ours: Any = RerankingOpenSearch(client, None)
    assert isinstance(ours, OpenSearch)
    assert isinstance(ours, Mine)
    assert isinstance(ours, RerankingOpenSearch)
    assert ours.mine() == "mine"
    assert ours.indices is client.indices
    assert ours.transport is client.transport
    ours.mark = 7
    assert client.mark == 7
    assert set(dir(client)) <= set(dir(ours))


def test_a_repr_holds_no_credentials() -> None:
    ours = RerankingOpenSearch(OpenSearch("http://user:secret@localhost:9201"), None)
    assert repr(ours) == "RerankingOpenSearch(http://localhost:9201)"


def test_a_client_of_the_other_kind_is_refused() -> None:
    for cls, other, named in (
        (RerankingOpenSearch, AsyncOpenSearch("http://localhost:1"), "AsyncRerankingOpenSearch"),
        (AsyncRerankingOpenSearch, OpenSearch("http://localhost:1"), "RerankingOpenSearch"),
        (RerankingOpenSearch, "http://localhost:1", "OpenSearch"),
    ):
        make: Any = cls
        with pytest.raises(ConfigurationError, match=named) as caught:
            make(other, None)
        assert caught.value.key == "client"


def test_a_copy_shares_the_client() -> None:
    ours: Any = RerankingOpenSearch(OpenSearch("http://localhost:1"), None)
    assert copy.copy(ours).transport is ours.transport


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"k": 0}, "k"),
        ({"on_missing_query": "fail"}, "on_missing_query"),
        ({"k": 10_001}, "k"),
    ],
)
def test_wrong_options_are_named(options: Any, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key) as error:
        RerankingOpenSearch(OpenSearch("http://localhost:1"), None, **options)
    assert error.value.key == key


# -- as many hits as the caller's own search finds

KNN: dict[str, Any] = {"query": {"knn": {"dense": {"vector": [0.5, 0.5, 0.5, 0.5], "k": 3}}}}


@pytest.mark.parametrize("reranker", [ReversingReranker, RaisingReranker])
@pytest.mark.parametrize("page", [{}, {"from": 1}, {"from": 3}, {"size": 2}])
def test_neighbours_are_chosen_from_more_and_are_as_many(
    world: World, reranker: Any, page: Any
) -> None:
    call = {"index": world.targets[1], "body": {**KNN, **page}}
    with world.watched() as log, observe() as outcomes:
        response = wrapped(world, reranker()).search(**call, rerank_query="bees")
    (sent,) = log
    raw = world.client.search(**call)
    assert response["hits"]["total"] == raw["hits"]["total"] == {"value": 3, "relation": "eq"}
    assert len(ids(response)) == len(ids(raw))
    (outcome,) = outcomes
    if page != {"from": 3}:
        assert outcome.seen == len(sent.response["hits"]["hits"]) == 20
    if reranker is RaisingReranker:
        assert ids(response) == ids(raw)


@pytest.mark.parametrize("method", ["search", "msearch"])
def test_over_several_shards_neighbours_stay_which_is_learned(world: World, method: str) -> None:
    client, index = wrapped(world), world.targets[0]

    def ask(body: Any) -> Any:
        if method == "search":
            return client.search(index=index, body=body, rerank_query="bees")
        found = client.msearch(body=[{"index": index}, body, {}, BODY], rerank_query="bees")
        return found["responses"][0]

    for body, requests in ((KNN, 2), (KNN, 1), ({**KNN, "size": 4}, 1)):
        with world.watched() as log, observe() as outcomes:
            response = ask(body)
        assert len(log) == requests
        raw = world.client.search(index=index, body=body)
        assert response["hits"]["total"] == raw["hits"]["total"] == {"value": 6, "relation": "eq"}
        assert sorted(ids(response)) == sorted(ids(raw)) or len(ids(raw)) == 4
        assert len(ids(response)) == len(ids(raw))
        assert outcomes[0].status == "reranked"
        assert outcomes[0].seen == 6


def test_with_its_own_depth_each_page_is_reranked_by_itself(world: World) -> None:
    client = wrapped(world, rerank_depth="own")
    for page in ({}, {"from": 7}, {"from": 40, "size": 9}):
        body = {**BODY, **page}
        with world.watched() as log, observe() as outcomes:
            response = client.search(index=world.targets[0], body=body)
        (sent,) = log
        raw = sent.response
        assert json.loads(sent.body) == body
        assert ids(response) != ids(raw)
        assert sorted(ids(response)) == sorted(ids(raw))
        assert outcomes[0].seen == len(ids(raw)) == body.get("size", 10)


def test_that_templates_are_not_reranked_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    reranking_client._warn_once.cache_clear()
    client = RerankingOpenSearch(OpenSearch("http://localhost:1"), None)
    for _ in range(2):
        assert client.search_template
    (said,) = caplog.records
    assert "search_template" in said.message


def test_a_field_that_a_script_makes_is_not_overwritten(world: World) -> None:
    script = {"script": {"source": "'made of ' + doc['year'].value"}}
    body = {**BODY, "script_fields": {"title": script}}
    with observe() as outcomes:
        response = wrapped(world).search(index=world.targets[0], body=body)
    assert all(hit["fields"]["title"][0].startswith("made") for hit in response["hits"]["hits"])
    assert outcomes[0].status == "skipped"
    body = {**body, "_source": True}
    with observe() as outcomes:
        response = wrapped(world).search(index=world.targets[0], body=body)
    assert all(hit["fields"]["title"][0].startswith("made") for hit in response["hits"]["hits"])
    assert outcomes[0].status == "reranked"


# -- all else


def test_scan_goes_through_untouched(world: World) -> None:
    client = wrapped(world)
    with observe() as outcomes:
        found = list(scan(client, query={"query": BODY["query"]}, index=world.targets[0], size=20))
    raw = list(scan(world.client, query={"query": BODY["query"]}, index=world.targets[0], size=20))
    assert [hit["_id"] for hit in found] == [hit["_id"] for hit in raw]
    assert {outcome.status for outcome in outcomes} == {"skipped"}
    ordered = scan(client, query=dict(BODY), index=world.targets[0], preserve_order=True)
    assert (
        next(iter(ordered))["_id"] == ids(world.client.search(index=world.targets[0], body=BODY))[0]
    )


def test_the_dsl_of_opensearch_py_is_reranked(world: World) -> None:
    client = wrapped(world)
    search = Search(using=client, index=world.targets[0]).query("match", text="honey bees")[2:5]
    with observe() as outcomes:
        response = search.execute()
    assert outcomes[0].status == "reranked"
    window = client.search(index=world.targets[0], body={**BODY, "size": 20})
    assert [hit.meta.id for hit in response] == ids(window)[2:5]


def test_documents_are_written_and_counted_as_before(world: World) -> None:
    client = wrapped(world)
    assert client.count(index=world.targets[0])["count"] == 70
    assert client.indices.exists(index=world.targets[0])
    assert client.get(index=world.targets[0], id="3")["_source"]["meta"]["n"] == 3


# -- the text


def test_the_text_of_a_block_is_for_calls_in_between(world: World) -> None:
    knn = {"knn": {"dense": {"vector": [0.5, 0.5, 0.5, 0.5], "k": 5}}}
    client = wrapped(world, on_missing_query="raise")
    with rerank_query("honey bees"), observe() as outcomes:
        client.search(index=world.targets[0], body={"query": knn})
    assert outcomes[0].status == "reranked"
    with pytest.raises(ConfigurationError, match="rerank_query"):
        client.search(index=world.targets[0], body={"query": knn})


class Listening:
    """Notes what it is asked."""

    name = "listening"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.asked.append((query, list(documents)))
        return Scores.from_relevance([0.5] * len(documents))


@pytest.mark.parametrize("source", [True, False, ["year"], {"excludes": ["te*"]}])
@pytest.mark.parametrize("fields", [("title", "text"), ("meta.summary",), ("tags.a", "year")])
def test_a_reranker_reads_the_stored_text_whatever_is_selected(
    world: World, source: Any, fields: tuple[str, ...]
) -> None:
    listening, text_fields = Listening(), TextFields(fields)
    client = wrapped(world, listening, text_fields=text_fields)
    client.search(index=world.targets[0], body={**BODY, "_source": source}, rerank_query="q?")
    ((query, texts),) = listening.asked
    stored = {text_fields.text(source) for source in world.documents.values()}
    assert query == "q?"
    assert set(texts) <= stored


# -- failures


def test_native_errors_are_the_native_ones(world: World) -> None:
    client = wrapped(world)
    with pytest.raises(NotFoundError):
        client.search(index="no-such-index", body=BODY)
    with pytest.raises(RequestError, match="unknown query"):
        client.search(index=world.targets[0], body={"query": {"nope": {}}}, rerank_query="q")
    away = RerankingOpenSearch(
        OpenSearch(f"http://127.0.0.1:{free_port()}", max_retries=0), ReversingReranker()
    )
    with pytest.raises(Unreachable):
        away.search(body=BODY)
    answer = client.search(index="no-such-index", body=BODY, ignore=[400, 404])
    assert answer["status"] == 404


@pytest.fixture
def small(world: World) -> Iterator[str]:
    """An index that allows fewer hits than the window has."""
    name = f"{world.name}-small"
    settings = {"max_result_window": 10, "number_of_replicas": 0}
    world.client.indices.create(index=name, body={"settings": settings})
    for n in range(15):
        world.client.index(index=name, id=str(n), body={"text": f"honey bees {n}"})
    world.client.indices.refresh(index=name)
    yield name
    world.client.indices.delete(index=name)


def sent_by(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that the world's client sends from now on."""
    sent: list[Any] = []
    native = world.client.transport.perform_request

    def noting(*args: Any, **kwargs: Any) -> Any:
        sent.append(args)
        return native(*args, **kwargs)

    monkeypatch.setattr(world.client.transport, "perform_request", noting)
    return sent


@pytest.mark.parametrize("ignored", [{}, {"ignore": 400}, {"params": {"ignore": [400]}}])
def test_a_small_result_window_is_learned(
    world: World, small: str, ignored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = sent_by(world, monkeypatch)
    client = wrapped(world)
    with observe() as outcomes:
        for _ in range(3):
            assert len(ids(client.search(index=small, body=BODY, **ignored))) == 5
    assert len(sent) == 4
    for outcome in outcomes:
        assert (outcome.status, outcome.k) == ("reranked", 10)
        assert "10" in outcome.notes["limited_depth"]
    pages = [
        hit
        for start in (0, 5)
        for hit in ids(client.search(index=small, body={**BODY, "from": start}, **ignored))
    ]
    assert len(set(pages)) == 10
    with pytest.raises(RequestError):
        client.search(index=small, body={**BODY, "from": 6})  # refused raw as well


def test_a_small_result_window_of_one_search_among_many(world: World, small: str) -> None:
    both = [{"index": small}, BODY, {"index": world.targets[0]}, BODY, {"index": small}, BODY]
    with observe() as outcomes:
        answer = wrapped(world).msearch(body=both)
    assert [(o.status, o.k) for o in outcomes] == [
        ("reranked", 10),
        ("reranked", 20),
        ("reranked", 10),
    ]
    assert [len(ids(r)) for r in answer["responses"]] == [5, 5, 5]


def test_a_small_result_window_of_one_index_loses_no_hits(world: World, small: str) -> None:
    """The other index answers, so that the deeper search seems to succeed."""
    index = f"{world.targets[0]},{small}"
    raw = world.client.search(index=index, body=BODY)
    response = wrapped(world).search(index=index, body=BODY)
    assert response["hits"]["total"] == raw["hits"]["total"]
    assert response["_shards"]["failed"] == 0


def test_a_hybrid_search_that_cannot_be_deeper_is_reranked_as_it_is(
    world: World, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal does not say how deep it could be."""
    sent = sent_by(world, monkeypatch)
    branches = [{"match": {"text": "honey bees"}}, {"match": {"text": "bees"}}]
    body = {"query": {"hybrid": {"queries": branches}}, "size": 5}
    client = wrapped(world)
    with observe() as outcomes:
        for _ in range(2):
            assert len(ids(client.search(index=small, body=body, rerank_query="bees"))) == 5
        assert len(sent) == 3
        client.msearch(body=[{"index": small}, body], rerank_query="bees")
    assert [outcome.status for outcome in outcomes] == ["reranked"] * 3
    assert all("own_depth" in outcome.notes for outcome in outcomes)


def test_a_failing_reranker_costs_the_order_and_nothing_else(world: World) -> None:
    with observe() as outcomes:
        response = wrapped(world, RaisingReranker()).search(index=world.targets[1], body=BODY)
    assert [outcome.status for outcome in outcomes] == ["fell_back"]
    assert len(ids(response)) == 5
    strict = wrapped(world, RaisingReranker(), policy=Policy(on_error="raise", breaker=None))
    with pytest.raises(RerankError):
        strict.search(index=world.targets[1], body=BODY)


def test_a_late_first_pass_is_given_back_unreranked(world: World) -> None:
    client = wrapped(world, policy=Policy(deadline=1e-6, breaker=None))
    with observe() as outcomes:
        response = client.search(index=world.targets[1], body=BODY)
    assert [outcome.status for outcome in outcomes] == ["fell_back"]
    assert len(ids(response)) == 5


def test_hits_that_are_not_relevant_are_left_out(world: World) -> None:
    client = wrapped(world, KeepingReranker())
    policy = Policy(min_relevance=0.9, blend=Blend("replace"), deadline=None)
    everything = client.search(index=world.targets[0], body=BODY)
    fewer = client.search(index=world.targets[0], body=BODY, rerank=policy)
    assert 0 < len(ids(fewer)) < len(ids(everything))
    none = client.search(
        index=world.targets[0], body=BODY, rerank=Policy(min_relevance=1.0, deadline=None)
    )
    assert ids(none) == [] or all(hit["_score"] for hit in none["hits"]["hits"])


# -- msearch


def test_an_msearch_has_its_errors_in_their_places(world: World) -> None:
    index = world.targets[0]
    items = [{}, BODY, {"index": "no-such-index"}, BODY, {}, {**BODY, "sort": "year"}, {}, BODY]
    with observe() as outcomes:
        answer = wrapped(world).msearch(body=items, index=index)
    assert [outcome.status for outcome in outcomes] == [
        "reranked",
        "skipped",
        "skipped",
        "reranked",
    ]
    assert [r["status"] for r in answer["responses"]] == [200, 404, 200, 200]
    assert "no such index" in str(outcomes[1].reason)
    one, _, by_year, other = answer["responses"]
    assert ids(one) == ids(other)
    assert ids(by_year) == ids(world.client.search(index=index, body={**BODY, "sort": "year"}))


def test_an_msearch_takes_a_text_for_each_search(world: World) -> None:
    listening = Listening()
    client = wrapped(world, listening)
    items = [{}, BODY, {}, BODY]
    client.msearch(body=items, index=world.targets[0], rerank_query=["one", None])
    assert sorted(query for query, _ in listening.asked) == ["honey bees", "one"]
    with pytest.raises(ConfigurationError, match="rerank_query"):
        client.msearch(body=items, index=world.targets[0], rerank_query=["one"])


def test_an_msearch_whose_filter_path_may_drop_answers_is_passed_through(world: World) -> None:
    client, shown = wrapped(world), "responses.hits.hits._id,responses.hits.hits._score"
    empty = {"query": {"match": {"text": "zebra"}}}
    for filter_path, statuses in (
        (f"{shown},responses.hits.hits._source", ["skipped", "skipped"]),
        (f"{shown},responses.hits.hits._source,responses.status", ["skipped", "reranked"]),
    ):
        with observe() as outcomes:
            answer = client.msearch(
                body=[{}, empty, {}, BODY], index=world.targets[0], filter_path=filter_path
            )
        assert [outcome.status for outcome in outcomes] == statuses
        assert len(ids(answer["responses"][-1])) == 5


@pytest.mark.filterwarnings("ignore:support for empty first line")
@pytest.mark.parametrize("body", ["{}\n", '\n{"size":1}\n{}\n', [{}]])
def test_an_msearch_that_does_not_pair_is_the_servers_affair(world: World, body: Any) -> None:
    with pytest.raises(RequestError) as raw:
        world.client.msearch(body=body, index=world.targets[0])
    with pytest.raises(RequestError) as ours:
        wrapped(world).msearch(body=body, index=world.targets[0])
    assert str(ours.value) == str(raw.value)


@pytest.mark.parametrize("body", [None, "", []])
def test_an_msearch_without_searches_is_the_clients_affair(world: World, body: Any) -> None:
    with pytest.raises(ValueError, match="Empty value passed"):
        wrapped(world).msearch(body=body)


# -- sync and async, many at a time


async def test_the_asynchronous_client_does_the_same(world: World, opensearch_url: str) -> None:
    sync = wrapped(world)
    async with AsyncRerankingOpenSearch(
        AsyncOpenSearch(opensearch_url), ReversingReranker(), policy=POLICY, k=20
    ) as client:
        assert isinstance(client, AsyncOpenSearch)
        index = world.targets[0]
        with observe() as outcomes:
            response = await client.search(index=index, body=BODY)
            answer = await client.msearch(index=index, body=[{}, BODY, {}, {"from": 20_000}])
        assert [outcome.status for outcome in outcomes] == ["reranked", "reranked", "skipped"]
        expected = sync.search(index=index, body=BODY)
        assert without_took(response) == without_took(expected)
        assert ids(answer["responses"][0]) == ids(expected)
        with pytest.raises(NotFoundError):
            await client.search(index="no-such-index", body=BODY)
        assert (await client.count(index=index))["count"] == 70


def without_took(response: Any) -> str:
    return json.dumps({**response, "took": 0})


def test_threads_share_a_client(world: World) -> None:
    client = wrapped(world)
    index = world.targets[0]
    pages = [{**BODY, "from": n % 15} for n in range(60)]

    def search(body: Any) -> tuple[list[str], list[str]]:
        with observe() as outcomes:
            found = ids(client.search(index=index, body=body))
        return found, [outcome.status for outcome in outcomes]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(search, pages))
    window = ids(client.search(index=index, body={**BODY, "size": 20}))
    for body, (page, statuses) in zip(pages, found, strict=True):
        assert page == window[body["from"] : body["from"] + 5]
        assert statuses == ["reranked"]


class Waiting:
    """A reranker that waits on an event loop, until it is released."""

    name = "waiting"

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), False

    async def score_async(self, query: str, documents: Sequence[str]) -> Scores:
        try:
            self.begun.set()
            await asyncio.sleep(60)
        finally:
            self.ended = True
        raise AssertionError("it was not cancelled")


async def test_cancelling_a_search_cancels_its_rerank(world: World, opensearch_url: str) -> None:
    waiting = Waiting()
    client = AsyncRerankingOpenSearch(AsyncOpenSearch(opensearch_url), waiting, policy=POLICY)
    started = time.monotonic()
    task = asyncio.ensure_future(client.search(index=world.targets[0], body=BODY))
    await waiting.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waiting.ended
    assert time.monotonic() - started < 30
    await client.close()


# -- instructions


class Noting:
    """Notes the instructions that it is given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def score(self, query: str, texts: list[str], *, instruction: str = "") -> list[float]:
        self.given.append(instruction)
        return [0.5] * len(texts)


def test_instructions_reach_the_reranker_and_not_the_server(world: World) -> None:
    noting, index = Noting(), world.targets[0]
    client = wrapped(world, noting, instruction="of the client")
    plain = client.search(index=index, body=BODY)
    found = client.search(index=index, body=BODY, instruction="of the call")
    assert ids(found) == ids(plain)
    with rerank_query(instruction="of the block"):
        client.search(index=index, body=BODY)
    client.msearch(index=index, body=[{}, BODY, {}, BODY], instruction="")
    expected = ["of the client", "of the call", "of the block", "", ""]
    assert noting.given == expected
    with pytest.raises(ConfigurationError) as caught:
        wrapped(world).search(index=index, body=BODY, instruction="of the call")
    assert caught.value.key == "instruction"
