"""A server's collections in strict mode: limits are kept, learned, and said once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from tests.contract.backends import SERVED, Backend, opened, qdrant_client
from tests.servers import qdrant_source
from vecdb_rerank.errors import IngestError
from vecdb_rerank.outcome import observe
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, Bm25, RerankingQdrantClient

pytestmark = pytest.mark.skipif(not qdrant_source(), reason="there is no Qdrant server here")

EMBEDDER = HashEmbedder(64)
BARE: dict[str, Any] = {"embedder": EMBEDDER, "reranker": KeepingReranker()}
VECTOR = EMBEDDER.embed_query("wolf river")
DENSE: dict[str, Any] = {"query": VECTOR, "using": "dense"}
FUSION: dict[str, Any] = {
    "prefetch": [
        models.Prefetch(query=VECTOR, using="dense", limit=10),
        models.Prefetch(query=Bm25().query("fox"), using="bm25", limit=10),
    ],
    "query": models.FusionQuery(fusion=models.Fusion.RRF),
}
MOST = 20


class Counted:
    """Counts the queries that a client sends."""

    sent = 0

    def query_points(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        return super().query_points(*args, **kwargs)  # type: ignore[misc]

    def query_batch_points(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        return super().query_batch_points(*args, **kwargs)  # type: ignore[misc]

    def query_points_groups(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        return super().query_points_groups(*args, **kwargs)  # type: ignore[misc]


class CountedClient(Counted, QdrantClient):
    """A synchronous client that counts."""


class AsyncCountedClient(Counted, AsyncQdrantClient):
    """An asynchronous client that counts."""


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest, qdrant_server: tuple[str, int]) -> Iterator[Backend]:
    name: str = request.param
    kind = AsyncCountedClient if name.endswith("async") else CountedClient
    with opened(name, qdrant_client(name, *qdrant_server, kind=kind)) as backend:
        yield backend


@pytest.fixture
def strict(served: Backend) -> Iterator[str]:
    """A collection of 60 documents that allows 20 hits, 5 seconds and no batches of two."""
    name = new_name()
    connector = served.connect(name, **BARE)
    served.call(connector.create())
    served.call(
        connector.add({"id": n, "text": f"fox river {'wolf ' * n}", "n": n} for n in range(60))
    )
    limits = {"max_query_limit": MOST, "max_timeout": 5, "search_max_batchsize": 1}
    restrict(served, name, **limits)
    yield name
    served.call(connector.delete())


def restrict(served: Backend, name: str, **limits: Any) -> None:
    config = models.StrictModeConfig(enabled=True, **limits)
    served.call(served.client.update_collection(name, strict_mode_config=config))


def wrapped(served: Backend, **options: Any) -> Any:
    asynchronous = served.name.endswith("async")
    kind: Any = AsyncRerankingQdrantClient if asynchronous else RerankingQdrantClient
    return kind(served.client, KeepingReranker(), **options)


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_a_connector_searches_as_deep_as_allowed(
    served: Backend, strict: str, mode: Any, explain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    connector = served.connect(strict, **BARE)
    with observe() as outcomes, caplog.at_level(logging.WARNING, "vecdb_rerank"):
        for _ in range(3):
            response = served.call(connector.search("fox", mode=mode, explain=explain))
            assert len(ids(connector, response)) == 10
    assert {outcome.status for outcome in outcomes} == {"reranked"}
    assert all(str(MOST) in outcome.notes["limited_depth"] for outcome in outcomes)
    assert all(outcome.seen >= MOST - 8 for outcome in outcomes)
    assert sum("limited_depth" in record.getMessage() for record in caplog.records) <= 1
    before = served.client.sent
    served.call(connector.search("fox", mode=mode))
    assert served.client.sent - before == (2 if mode == "hybrid" else 1)


def test_check_names_the_limits(served: Backend, strict: str) -> None:
    connector = served.connect(strict, **BARE)
    findings = served.call(connector.check())
    (limit,) = [finding for finding in findings if finding.level == "warning"]
    assert "max_query_limit" in limit.detail
    assert not [finding for finding in findings if finding.level == "error"]
    restrict(served, strict, max_query_limit=1000, max_timeout=60, search_max_batchsize=100)
    findings = served.call(connector.check())
    assert {finding.level for finding in findings} == {"ok"}


@pytest.mark.parametrize("request_", [DENSE, FUSION], ids=["dense", "fusion"])
@pytest.mark.parametrize("kind", ["points", "batch", "groups"])
def test_a_drop_in_learns_the_depth(
    served: Backend, strict: str, kind: str, request_: dict[str, Any]
) -> None:
    client = wrapped(served)

    def search(client: Any, **more: Any) -> int:
        if kind == "points":
            found = client.query_points(strict, **request_, limit=5, **more)
            return len(served.call(found).points)
        if kind == "groups":
            found = client.query_points_groups(strict, "n", **request_, limit=5, **more)
            return len(served.call(found).groups)
        query = models.QueryRequest(**request_, limit=5, with_payload=True)
        return len(served.call(client.query_batch_points(strict, [query], **more))[0].points)

    if kind == "groups":
        index = models.PayloadSchemaType.INTEGER
        served.call(served.client.create_payload_index(strict, "n", index, wait=True))
    raw = search(served.client)
    before = served.client.sent
    with observe() as outcomes:
        for _ in range(3):
            assert search(client, rerank_query="fox") == raw
    assert served.client.sent - before == 4
    for outcome in outcomes:
        assert outcome.status == "reranked"
        assert outcome.scored > 5
        assert str(MOST) in outcome.notes["limited_depth"]


@pytest.mark.parametrize("size", [3, 7, 10, 15, 20])
def test_pages_within_a_limit_hold_each_hit_once(served: Backend, strict: str, size: int) -> None:
    client = wrapped(served)
    found: list[Any] = []
    for start in range(0, 60, size):
        page = client.query_points(strict, **DENSE, limit=size, offset=start, rerank_query="fox")
        points = served.call(page).points
        assert len(points) == min(size, 60 - start)
        found += [point.id for point in points]
    assert len(set(found)) == 60


@pytest.mark.parametrize("more", [{"limit": 25}, {"timeout": 9}, {"limit": 25, "offset": 3}])
def test_what_is_refused_raw_is_refused_alike(
    served: Backend, strict: str, more: dict[str, Any]
) -> None:
    def error(client: Any, **given: Any) -> Exception:
        with pytest.raises(Exception, match="Limit exceeded") as caught:
            served.call(client.query_points(strict, **DENSE, **more, **given))
        return caught.value

    client = wrapped(served)
    theirs = error(served.client)
    for _ in range(2):
        ours = error(client, rerank_query="fox")
        assert type(ours) is type(theirs)


def test_a_request_of_its_own_depth_is_left_alone(served: Backend, strict: str) -> None:
    client = wrapped(served, rerank_depth="own")
    before = served.client.sent
    with observe() as outcomes:
        found = served.call(client.query_points(strict, **DENSE, limit=20, rerank_query="fox"))
    assert len(found.points) == 20
    assert served.client.sent - before == 1
    assert "limited_depth" not in outcomes[0].notes


@pytest.mark.parametrize(
    "limit",
    ["max_points_count", "max_collection_payload_size_bytes", "max_collection_vector_size_bytes"],
)
def test_a_full_collection_ends_an_ingest(served: Backend, strict: str, limit: str) -> None:
    restrict(served, strict, **{limit: 20})
    read: list[int] = []

    def documents() -> Iterator[dict[str, Any]]:
        for n in range(1_000):  # the server counts anew only after some dozens of writes
            read.append(n)
            yield {"id": n + 100, "text": f"river {n}"}

    connector = served.connect(strict, **BARE)
    with pytest.raises(IngestError, match="strict_mode_config"):
        served.call(connector.add(documents(), batch_size=2))
    assert len(read) < 500


@pytest.mark.parametrize("limits", [{"upsert_max_batchsize": 5}, {"max_timeout": 1}])
def test_a_limit_of_one_write_costs_no_document(
    served: Backend, strict: str, limits: dict[str, Any]
) -> None:
    restrict(served, strict, **limits)
    connector = served.connect(strict, **BARE)
    report = served.call(connector.add({"id": n, "text": f"river {n}"} for n in range(40, 80)))
    assert (report.added, report.failed) == (40, ())
