"""A cascade of the bundled model and a rerank server, with the server there and not there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient
from werkzeug import Request, Response

from vecdb_rerank import Blend, CascadeReranker, HttpReranker, OnnxReranker, Policy, observe
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.testing import CORPUS, QUERIES, HashEmbedder, RerankerContract
from vecdb_rerank_qdrant import QdrantConnector

QUERY = QUERIES["bread"]
TEXTS = [str(document["text"]) for document in CORPUS[:12]]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def overlap(request: Request) -> Response:
    """A server in TEI's format: the logit of the share of words in common."""
    asked = json.loads(request.data)
    query = _words(asked["query"])
    shares = [len(query & _words(text)) / (len(query) + 1) for text in asked["texts"]]
    results = [{"index": n, "score": share * 10 - 5} for n, share in enumerate(shares)]
    return Response(json.dumps(results), content_type="application/json")


@pytest.fixture(scope="class")
def server(make_httpserver: HTTPServer) -> Iterator[HTTPServer]:
    make_httpserver.expect_request("/rerank").respond_with_handler(overlap)
    yield make_httpserver
    make_httpserver.clear()


def made(server: HTTPServer, best: int = 20) -> CascadeReranker:
    return CascadeReranker(
        OnnxReranker(), HttpReranker(server.url_for("/"), format="tei", retries=0), best=best
    )


class TestServerSecond(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, server: HTTPServer) -> Iterator[CascadeReranker]:
        cascade = made(server)
        yield cascade
        run(cascade.closing())


class TestServerFirst(RerankerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, server: HTTPServer) -> Iterator[CascadeReranker]:
        cheap = HttpReranker(server.url_for("/"), format="tei", batch_size=1_000)
        cascade = CascadeReranker(cheap, OnnxReranker())
        yield cascade
        run(cascade.closing())


@pytest.fixture(params=["sync", "async"])
def ranked(request: pytest.FixtureRequest) -> Callable[[CascadeReranker], list[float | None]]:
    """The raw scores of a cascade with either driver; its connections are closed."""

    def sync(cascade: CascadeReranker) -> list[float | None]:
        scores = cascade.score(QUERY, TEXTS, deadline=Deadline.after(60))
        run(cascade.closing())
        return list(scores.raw)

    async def awaited(cascade: CascadeReranker) -> list[float | None]:
        scores = await run_async(cascade.steps(QUERY, TEXTS, deadline=Deadline.after(60)))
        await run_async(cascade.closing())
        return list(scores.raw)

    return sync if request.param == "sync" else lambda cascade: asyncio.run(awaited(cascade))


def test_the_server_is_sent_the_best_in_one_request(
    server: HTTPServer, ranked: Callable[[CascadeReranker], list[float | None]]
) -> None:
    server.clear_log()
    raw = ranked(made(server, best=3))
    [(request, _)] = server.log
    sent = json.loads(request.data)["texts"]
    cheap = OnnxReranker().score(QUERY, TEXTS, deadline=Deadline())
    best = sorted(range(len(TEXTS)), key=lambda n: -float(cheap.raw[n] or 0.0))
    assert sent == [TEXTS[n] for n in best[:3]]
    numbers = [float(x) for x in raw if x is not None]
    order = sorted(range(len(TEXTS)), key=lambda n: -numbers[n])
    assert set(order[:3]) == set(best[:3])
    assert order[3:] == best[3:]


def searched(cascade: CascadeReranker) -> Outcome:
    """The outcome of a search that reads twelve documents, none of them lost or found twice."""
    policy = Policy(blend=Blend("replace"), deadline=60.0)
    connector = QdrantConnector(
        QdrantClient(":memory:"), "c", embedder=HashEmbedder(), reranker=cascade, policy=policy
    )
    connector.create()
    connector.add(CORPUS)
    with observe() as outcomes:
        response = connector.search(QUERY, k=12, limit=12)
    assert len(response.points) == len({point.id for point in response.points}) == 12
    connector.close()
    return outcomes[0]


@pytest.fixture
def down(httpserver: HTTPServer) -> HttpReranker:
    """A server that answers 503."""
    httpserver.expect_request("/rerank").respond_with_data("down", status=503)
    return HttpReranker(httpserver.url_for("/"), format="tei", retries=0)


def test_without_the_strong_one_the_cheap_order_stands(down: HttpReranker) -> None:
    outcome = searched(CascadeReranker(OnnxReranker(), down, best=3))
    assert (outcome.status, outcome.scored) == ("reranked", 12)
    assert outcome.reranker == f"cascade:{OnnxReranker().name}>{down.name}"
    assert list(outcome.failed) == [down.name]
    assert "answered 503" in outcome.failed[down.name]


def test_without_the_cheap_one_the_strong_one_reads_the_first(down: HttpReranker) -> None:
    outcome = searched(CascadeReranker(down, OnnxReranker(), best=3))
    assert (outcome.status, outcome.scored) == ("partial", 3)
    assert outcome.reason is not None
    assert outcome.reason.startswith(f"3 of 12 documents were scored ({down.name}: ")
    assert "answered 503" in outcome.failed[down.name]
