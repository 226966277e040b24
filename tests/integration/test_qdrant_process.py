"""A Qdrant process of our own: custom sharding, which needs a cluster, and a frozen server."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models

from tests import servers
from tests.contract.backends import SERVED, Backend, opened, qdrant_client
from vecdb_rerank import connect, connect_async
from vecdb_rerank.errors import FirstPassTimeoutError, IngestError
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient, errors

pytestmark = pytest.mark.skipif(not servers.QDRANT_BINARY, reason="there is no Qdrant executable")

EMBEDDER = HashEmbedder(4)
MODELS: dict[str, Any] = {"embedder": EMBEDDER, "reranker": KeepingReranker()}
VECTOR = EMBEDDER.embed_query("river")
TIMEOUT = 2


@pytest.fixture(scope="module")
def process() -> Iterator[servers.QdrantProcess]:
    with servers.qdrant_process() as started:
        yield started


@pytest.fixture(params=SERVED)
def served(
    request: pytest.FixtureRequest, process: servers.QdrantProcess, ran: Counter[str]
) -> Iterator[Backend]:
    name: str = request.param
    client = qdrant_client(name, process.url, process.grpc_port, timeout=TIMEOUT)
    with opened(name, client) as backend:
        ran.setdefault(f"{name} of an own process", 0)
        yield backend


# -- custom sharding


def test_a_shard_key_names_the_shard_to_fill_and_to_search(served: Backend) -> None:
    name, call, client = new_name(), served.call, served.client
    call(
        client.create_collection(
            name,
            vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            sharding_method=models.ShardingMethod.CUSTOM,
            timeout=30,
        )
    )
    connector = served.connect(name, **MODELS)
    for key in ("north", 7):
        call(client.create_shard_key(name, key, timeout=30))
        report = call(
            connector.add(
                ({"id": f"{key}-{n}", "text": f"river {key}"} for n in range(3)), shard_key=key
            )
        )
        assert report.added == 3

    def found(**options: Any) -> set[str]:
        return {
            hit.split("-")[0] for hit in ids(connector, call(connector.search("river", **options)))
        }

    for mode in ("hybrid", "dense", "bm25"):
        assert found(mode=mode, shard_key_selector="north") == {"north"}
        assert found(mode=mode, shard_key_selector=7) == {"7"}
        assert found(mode=mode) == {"north", "7"}
    for wrong in (None, "nowhere"):
        with pytest.raises(IngestError) as caught:
            call(connector.add([{"id": "x", "text": "river"}], shard_key=wrong))
        assert "shard_key" in str(caught.value)
    call(connector.delete())


# -- a frozen server


@pytest.fixture
def filled(served: Backend) -> Iterator[str]:
    name = new_name()
    connector = served.connect(name, **MODELS)
    served.call(connector.create())
    served.call(connector.add({"id": n, "text": f"river {n}"} for n in range(20)))
    yield name
    served.call(connector.delete())


@pytest.mark.parametrize(
    ("timeout", "deadline", "limit"),
    [(TIMEOUT, 30.0, "backend.timeout"), (30, 2.0, "deadline"), (TIMEOUT, None, "backend.timeout")],
)
@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
def test_the_smaller_limit_ends_a_search_of_connect(
    served: Backend,
    filled: str,
    process: servers.QdrantProcess,
    mode: Any,
    timeout: float,
    deadline: float | None,
    limit: str,
) -> None:
    settings: dict[str, Any] = {
        "backend": {
            "type": "qdrant",
            "url": process.url,
            "collection": filled,
            "timeout": timeout,
            "prefer_grpc": "grpc" in served.name,
            "grpc_port": process.grpc_port,
        },
        "policy": {"deadline": deadline},
        "reranker": {"type": "none"},
        "embedder": {"type": "none"},
    }

    async def search(connector: Any) -> Any:
        found = connector.search("river", query_vector=VECTOR, mode=mode)
        return await found if inspect.isawaitable(found) else found

    async def run() -> float:
        connector: Any = (connect_async if served.name.endswith("async") else connect)(**settings)
        try:
            assert (await search(connector)).points
            with process.frozen():
                started = time.monotonic()
                with pytest.raises(FirstPassTimeoutError, match=limit):
                    await search(connector)
                return time.monotonic() - started
        finally:
            closed = connector.close()
            if inspect.isawaitable(closed):
                await closed

    assert TIMEOUT - 0.5 < asyncio.run(run()) < TIMEOUT + 2


def test_a_connector_keeps_the_timeout_of_the_client_it_is_given(
    served: Backend, filled: str, process: servers.QdrantProcess
) -> None:
    connector = served.connect(filled, **MODELS)
    with process.frozen():
        started = time.monotonic()
        with pytest.raises(FirstPassTimeoutError, match=r"backend\.timeout"):
            served.call(connector.search("river"))
        assert time.monotonic() - started < TIMEOUT + 2


def test_a_drop_in_keeps_the_timeout_of_its_client(
    served: Backend, filled: str, process: servers.QdrantProcess
) -> None:
    asynchronous = served.name.endswith("async")
    kind: Any = AsyncRerankingQdrantClient if asynchronous else RerankingQdrantClient
    client = kind(served.client, KeepingReranker())
    with process.frozen():
        started = time.monotonic()
        with pytest.raises(Exception) as caught:
            served.call(
                client.query_points(filled, query=VECTOR, using="dense", rerank_query="river")
            )
        assert time.monotonic() - started < TIMEOUT + 2
    assert errors.is_timeout(caught.value)
