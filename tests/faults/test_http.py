"""The http reranker against a real server that misbehaves: nothing is lost, nothing is late."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.faults.server import BEHAVIOURS, FaultServer, fault_server
from vecdb_rerank import Deadline, Document, HttpReranker, Policy, RerankError, observe
from vecdb_rerank.blending import Blend
from vecdb_rerank.candidates import Outcome
from vecdb_rerank.flow import run, run_async
from vecdb_rerank.rerankers.formats import FORMATS, FormatName, endpoint
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

DEADLINE = 0.5
COUNT = 5
RETRIES = 1
SECRET = "the-secret-key"  # of nothing
TEXTS = [f"number {n} of the five" for n in range(COUNT)]
# What is tried again: RETRIES + 1 requests, as far as the deadline lets them be made.
PASSING = {"recovers", "429", "429 retry-after 0", "500", "502 html", "503", "reset"}
LATE = {"hang", "drip", "stall"}


@dataclass
class Found:
    """What a search came to."""

    ids: list[int]
    outcome: Outcome
    seconds: float


def search_sync(reranker: HttpReranker) -> Found:
    client = QdrantClient(":memory:")
    connector = QdrantConnector(client, "docs", reranker=reranker, **OPTIONS)
    with closing(connector):
        connector.create()
        connector.add(Document(n, {"text": text}) for n, text in enumerate(TEXTS))
        first = connector.search("number five", rerank=False)
        started = time.monotonic()
        with observe() as outcomes:
            response = connector.search("number five")
        seconds = time.monotonic() - started
        assert {p.id for p in first.points} == {p.id for p in response.points}
        return Found([int(p.id) for p in response.points], outcomes[0], seconds)


def search_async(reranker: HttpReranker) -> Found:
    async def found() -> Found:
        connector = AsyncQdrantConnector(
            AsyncQdrantClient(":memory:"), "docs", reranker=reranker, **OPTIONS
        )
        try:
            await connector.create()
            await connector.add(Document(n, {"text": text}) for n, text in enumerate(TEXTS))
            started = time.monotonic()
            with observe() as outcomes:
                response = await connector.search("number five")
            seconds = time.monotonic() - started
            return Found([int(p.id) for p in response.points], outcomes[0], seconds)
        finally:
            await connector.close()

    return asyncio.run(found())


OPTIONS: dict[str, Any] = {
    "embedder": HashEmbedder(),
    "policy": Policy(deadline=DEADLINE, blend=Blend("replace")),
}
both_colours = pytest.mark.parametrize("search", [search_sync, search_async])
Search = Callable[[HttpReranker], Found]


def reranker(url: str | list[str], format: FormatName = "cohere", **options: Any) -> HttpReranker:
    given = {"model": "m", "retries": RETRIES, "api_key": SECRET, **options}
    return HttpReranker(url, format=format, **given)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[FaultServer]:
    with fault_server(request.param) as running:
        yield running


@both_colours
@pytest.mark.parametrize(
    "server", [b for b in BEHAVIOURS if b not in ("ok", "slow")], indirect=True
)
def test_a_fault_costs_quality_and_never_results(server: FaultServer, search: Search) -> None:
    found = search(reranker(server.url))
    assert sorted(found.ids) == list(range(COUNT))
    assert found.outcome.status == "fell_back"
    assert found.seconds < DEADLINE + 0.5
    made = len(server.requests)
    if server.behaviour in PASSING:
        assert made == RETRIES + 1
    else:
        assert made == 1
    reason = str(found.outcome.reason)
    assert "127.0.0.1" in reason
    assert SECRET not in reason
    assert "\n" not in reason
    if server.behaviour in LATE:
        assert "in time" in reason
        assert found.seconds >= DEADLINE


@both_colours
@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_is_spoken(search: Search, format: FormatName) -> None:
    with fault_server("ok") as server:
        found = search(reranker(server.url, format))
    assert found.outcome.status == "reranked"
    [body] = server.requests
    sent = body["texts"] if format == "tei" else body["documents"]
    assert found.ids == [TEXTS.index(text) for text in reversed(sent)]  # type: ignore[call-overload]
    assert server.heads[0].startswith(f"POST {FORMATS[format].path} ")
    assert f"authorization: bearer {SECRET}" in server.heads[0].lower()


@both_colours
def test_a_server_that_recovers_is_waited_for(search: Search) -> None:
    with fault_server("recovers") as server:
        found = search(reranker(server.url, retries=2))
    assert found.outcome.status == "reranked"
    assert len(server.requests) == 3


@both_colours
def test_the_next_url_answers_for_one_that_fails(search: Search) -> None:
    with fault_server("503") as broken, fault_server("ok") as whole:
        found = search(reranker([broken.url, whole.url], retries=0))
    assert found.outcome.status == "reranked"
    assert (len(broken.requests), len(whole.requests)) == (1, 1)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_timeout_that_is_set_is_the_one_that_counts(asynchronous: bool) -> None:
    with fault_server("slow") as server:
        steps = reranker(server.url, timeout=9.0, retries=0).steps(
            "query", TEXTS, deadline=Deadline.after(9.0)
        )
        scores = asyncio.run(run_async(steps)) if asynchronous else run(steps)
    assert len(scores.relevance) == COUNT


@pytest.mark.parametrize("server", ["hang"], indirect=True)
def test_a_timeout_shorter_than_the_deadline_ends_an_attempt(server: FaultServer) -> None:
    started = time.monotonic()
    with pytest.raises(RerankError, match="in time"):
        reranker(server.url, timeout=0.2).score("query", TEXTS, deadline=Deadline.after(20))
    assert time.monotonic() - started < 5
    assert len(server.requests) == RETRIES + 1


@both_colours
def test_a_refused_connection_is_told(search: Search) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    found = search(reranker(f"http://127.0.0.1:{port}"))
    assert found.outcome.status == "fell_back"
    assert "cannot be reached" in str(found.outcome.reason)


@both_colours
def test_many_documents_go_in_batches(search: Search) -> None:
    with fault_server("ok") as server:
        found = search(reranker(server.url, "tei", batch_size=2))
    assert [len(body["texts"]) for body in server.requests] == [2, 2, 1]  # type: ignore[arg-type]
    assert found.outcome.scored == COUNT


@pytest.mark.parametrize("server", ["drip", "stall", "hang"], indirect=True)
def test_no_call_outlives_its_deadline(server: FaultServer) -> None:
    from vecdb_rerank import RerankTimeoutError

    late = []
    one = reranker(server.url)
    for _ in range(3):
        deadline = Deadline.after(0.3)
        with pytest.raises(RerankTimeoutError):
            one.score("query", TEXTS, deadline=deadline)
        late.append(time.monotonic() - deadline.ends_at)
    assert min(late) < 0.05
    assert max(late) < 0.3


@pytest.mark.parametrize(
    ("url", "path", "address"),
    [
        ("http://h", "/v2/rerank", "http://h/v2/rerank"),
        ("http://h/", "/v1/rerank", "http://h/v1/rerank"),
        ("http://h/v2", "/v2/rerank", "http://h/v2/rerank"),
        ("http://h/proxy/v1/", "/v1/rerank", "http://h/proxy/v1/rerank"),
        ("http://h/v1/rerank", "/v2/rerank", "http://h/v1/rerank"),
        ("http://h:8080", "/rerank", "http://h:8080/rerank"),
    ],
)
def test_paths_are_never_doubled(url: str, path: str, address: str) -> None:
    assert endpoint(url, path) == address
