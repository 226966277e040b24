"""A user's code, as type checkers see it; it is never run.

Every checker must refuse a line that ends in "expect error", and accept all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, assert_type

from opensearchpy import AsyncOpenSearch, OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.conversions.common_types import GroupsResult, QueryResponse

import vecdb_rerank
from vecdb_rerank import (
    AsyncConnector,
    Blend,
    Candidate,
    Connector,
    Document,
    Finding,
    Fusion,
    IngestReport,
    Outcome,
    Policy,
    SearchDefaults,
    TextFields,
    observe,
    rerank_query,
)
from vecdb_rerank_opensearch import (
    AsyncOpenSearchConnector,
    AsyncRerankingOpenSearch,
    OpenSearchConnector,
    RerankingOpenSearch,
)
from vecdb_rerank_qdrant import (
    AsyncQdrantConnector,
    AsyncRerankingQdrantClient,
    Bm25,
    QdrantConnector,
    RerankingQdrantClient,
)

POLICY = Policy(deadline=2.0, blend=Blend("replace"))
DOCUMENTS = [{"id": 1, "text": "honey"}]
Hits = dict[str, Any]  # OpenSearch's response

# -- QdrantConnector


def qdrant(client: QdrantClient, other: AsyncQdrantClient) -> None:
    connector = QdrantConnector(
        client,
        "docs",
        dense_vector=None,
        bm25=Bm25(),
        reranker=None,
        embedder="bundled",
        text_fields=TextFields(("text",)),
        policy=POLICY,
        defaults=SearchDefaults(k=20, payload="page"),
        close_client=True,
    )
    assert_type(connector.client, QdrantClient)
    assert_type(connector.create(), bool)
    assert_type(connector.add(DOCUMENTS, batch_size=8), IngestReport)
    assert_type(connector.add([Document(1, {"text": "honey"})]), IngestReport)
    response = connector.search(
        "honey",
        k=20,
        limit=5,
        offset=5,
        mode="hybrid",
        filter=models.Filter(),
        query_vector=[0.5],
        depth=30,
        fusion=Fusion("rrf"),
        rerank=POLICY,
        explain=True,
        with_payload=["text"],
        with_vectors=False,
        score_threshold=0.1,
        search_params=models.SearchParams(),
        shard_key_selector="one",
        consistency=models.ReadConsistencyType.MAJORITY,
    )
    assert_type(response, QueryResponse)
    assert_type(connector.search("honey", rerank=False, filter=None), QueryResponse)
    assert_type(connector.candidates(response), Sequence[Candidate])
    assert_type(connector.check(), list[Finding])
    assert_type(connector.warmup(), None)
    assert_type(connector.delete(), None)
    assert_type(connector.close(), None)
    with connector as entered:
        assert_type(entered, QdrantConnector)

    QdrantConnector(other, "docs")  # expect error
    QdrantConnector(client)  # expect error
    QdrantConnector(client, "docs", rerankr=None)  # expect error
    QdrantConnector(client, "docs", policy="strict")  # expect error
    QdrantConnector(client, "docs", bm25_fields=["text"])  # expect error
    connector.search("honey", k="10")  # expect error
    connector.search("honey", limt=10)  # expect error
    connector.search("honey", mode="fuzzy")  # expect error
    connector.search("honey", rerank="no")  # expect error
    connector.search("honey", highlight={})  # expect error
    connector.search(7)  # expect error
    connector.add(DOCUMENTS, batchsize=8)  # expect error
    connector.serach("honey")  # expect error
    with connector.search("honey"):  # expect error
        pass


async def async_qdrant(client: AsyncQdrantClient, other: QdrantClient) -> None:
    connector = AsyncQdrantConnector(client, "docs", bm25_vector="bm25", policy=POLICY)
    assert_type(connector.client, AsyncQdrantClient)
    assert_type(await connector.create(), bool)
    assert_type(await connector.add(DOCUMENTS, on_progress=print), IngestReport)
    task = asyncio.create_task(connector.search("honey", k=20, with_payload=True))
    assert_type(task, asyncio.Task[QueryResponse])
    one, two = await asyncio.gather(connector.search("a"), connector.search("b", rerank=POLICY))
    assert_type(one, QueryResponse)
    assert_type(connector.candidates(two), Sequence[Candidate])
    assert_type(await connector.check(), list[Finding])
    assert_type(await connector.warmup(), None)
    assert_type(await connector.delete(), None)
    assert_type(await connector.close(), None)
    async with connector as entered:
        assert_type(entered, AsyncQdrantConnector)

    AsyncQdrantConnector(other, "docs")  # expect error
    AsyncQdrantConnector(client, "docs", languge="english")  # expect error
    await connector.search("honey", k="10")  # expect error
    await connector.search("honey", filtr=None)  # expect error
    connector.search("honey").points  # expect error
    with connector:  # expect error
        pass


# -- OpenSearchConnector


def opensearch(client: OpenSearch, other: AsyncOpenSearch) -> None:
    connector = OpenSearchConnector(
        client, "docs", dense_vector="dense", bm25_fields=["title^2"], language="german"
    )
    assert_type(connector.client, OpenSearch)
    assert_type(connector.create(), bool)
    assert_type(connector.add(DOCUMENTS, give_up_after=5), IngestReport)
    response = connector.search(
        "honey",
        k=20,
        filter={"term": {"kind": "bee"}},
        rerank=True,
        _source=["text"],
        highlight={"fields": {"text": {}}},
        aggs={},
        routing="one",
        preference="_local",
        body={"track_total_hits": True},
    )
    assert_type(response, Hits)
    assert_type(connector.search("honey", filter=[{"term": {"kind": "bee"}}]), Hits)
    assert_type(connector.candidates(response), Sequence[Candidate])
    assert_type(connector.check(), list[Finding])
    assert_type(connector.warmup(), None)
    assert_type(connector.delete(), None)
    assert_type(connector.close(), None)
    with connector as entered:
        assert_type(entered, OpenSearchConnector)

    OpenSearchConnector(other, "docs")  # expect error
    OpenSearchConnector(client, "docs", language="klingon")  # expect error
    OpenSearchConnector(client, "docs", bm25=None)  # expect error
    connector.search("honey", k="10")  # expect error
    connector.search("honey", size=10)  # expect error
    connector.search("honey", with_payload=True)  # expect error


async def async_opensearch(client: AsyncOpenSearch, other: OpenSearch) -> None:
    connector = AsyncOpenSearchConnector(client, "docs", close_client=True)
    assert_type(connector.client, AsyncOpenSearch)
    assert_type(await connector.create(), bool)
    assert_type(await connector.add(DOCUMENTS), IngestReport)
    task = asyncio.create_task(connector.search("honey", body={"timeout": "1s"}))
    assert_type(task, asyncio.Task[Hits])
    assert_type(connector.candidates(await task), Sequence[Candidate])
    assert_type(await connector.check(), list[Finding])
    assert_type(await connector.warmup(), None)
    assert_type(await connector.delete(), None)
    assert_type(await connector.close(), None)
    async with connector as entered:
        assert_type(entered, AsyncOpenSearchConnector)

    AsyncOpenSearchConnector(other, "docs")  # expect error
    await connector.search("honey", k="10")  # expect error
    await connector.search("honey", sources=[])  # expect error
    connector.search("honey")["hits"]  # expect error


# -- drop-in clients


def takes_qdrant(_: QdrantClient) -> None: ...
def takes_async_qdrant(_: AsyncQdrantClient) -> None: ...
def takes_opensearch(_: OpenSearch) -> None: ...
def takes_async_opensearch(_: AsyncOpenSearch) -> None: ...


def reranking_qdrant(client: QdrantClient, other: AsyncQdrantClient) -> None:
    ours = RerankingQdrantClient(client, None, policy=POLICY, k=30, on_missing_query="raise")
    takes_qdrant(ours)
    points = ours.query_points("docs", [0.5], limit=3, rerank_query="honey", rerank=POLICY)
    assert_type(points, QueryResponse)
    assert_type(ours.query_points_groups("docs", "kind", [0.5], rerank=False), GroupsResult)
    batch = ours.query_batch_points("docs", [models.QueryRequest()], rerank_query=["a", None])
    assert_type(batch, list[QueryResponse])
    assert_type(ours.count("docs"), models.CountResult)
    assert_type(ours.close(), None)
    with ours as entered:
        assert_type(entered, RerankingQdrantClient)

    RerankingQdrantClient(other)  # expect error
    RerankingQdrantClient(client, documents=None)  # expect error
    RerankingQdrantClient(client, k="10")  # expect error
    RerankingQdrantClient(client, on_missing_query="fail")  # expect error
    ours.query_points("docs", [0.5], rerank="no")  # expect error
    ours.query_points("docs", [0.5], limit="3")  # expect error
    ours.query_pionts("docs")  # expect error
    takes_async_qdrant(ours)  # expect error


async def async_reranking_qdrant(client: AsyncQdrantClient, other: QdrantClient) -> None:
    ours = AsyncRerankingQdrantClient(client, [], text_fields=TextFields(("text",)))
    takes_async_qdrant(ours)
    task = asyncio.create_task(ours.query_points("docs", [0.5], rerank_query="honey"))
    assert_type(task, asyncio.Task[QueryResponse])
    assert_type(await ours.query_points_groups("docs", "kind", [0.5]), GroupsResult)
    batch = await ours.query_batch_points("docs", [], rerank=[True, POLICY])
    assert_type(batch, list[QueryResponse])
    assert_type(await ours.count("docs"), models.CountResult)
    assert_type(await ours.close(), None)
    async with ours as entered:
        assert_type(entered, AsyncRerankingQdrantClient)

    AsyncRerankingQdrantClient(other)  # expect error
    await ours.query_points("docs", [0.5], rerank_query=7)  # expect error
    ours.query_points("docs", [0.5]).points  # expect error


def reranking_opensearch(client: OpenSearch, other: AsyncOpenSearch) -> None:
    ours = RerankingOpenSearch(client, "bundled", policy=POLICY, k=30)
    takes_opensearch(ours)
    ours.search(index="docs", body={}, size=5, rerank_query="honey", rerank=POLICY)
    ours.msearch(body=[], index="docs", rerank_query=["a", None], rerank=[True, False])
    ours.indices.refresh(index="docs")
    assert_type(ours.close(), None)
    with ours as entered:
        assert_type(entered, RerankingOpenSearch)

    RerankingOpenSearch(other)  # expect error
    RerankingOpenSearch(client, documents=None)  # expect error
    ours.search({})  # expect error
    ours.search(body={}, rerank="no")  # expect error
    ours.serach(body={})  # expect error
    takes_async_opensearch(ours)  # expect error


async def async_reranking_opensearch(client: AsyncOpenSearch, other: OpenSearch) -> None:
    ours = AsyncRerankingOpenSearch(client, None)
    takes_async_opensearch(ours)
    asyncio.create_task(ours.search(index="docs", body={}, rerank_query="honey"))
    await ours.msearch(body=[], rerank=POLICY)
    assert_type(await ours.close(), None)
    async with ours as entered:
        assert_type(entered, AsyncRerankingOpenSearch)

    AsyncRerankingOpenSearch(other)  # expect error
    await ours.search(body={}, rerank_query=7)  # expect error
    await ours.msearch()  # expect error


# -- connect and the rest


def connecting() -> None:
    connector = vecdb_rerank.connect("settings.toml", backend={"type": "qdrant"})
    assert_type(connector, Connector[Any])
    assert_type(connector.check(), list[Finding])
    connector.search("honey", k=5, filter={"must": []}, rerank=POLICY)
    exact = vecdb_rerank.connect(expect=QdrantConnector)
    assert_type(exact, QdrantConnector)
    assert_type(exact.search("honey", with_payload=True), QueryResponse)
    with vecdb_rerank.connect(expect=OpenSearchConnector) as other, observe() as outcomes:
        assert_type(other.search("honey", aggs={}), Hits)
    assert_type(outcomes, list[Outcome])
    with rerank_query("honey"):
        pass

    connector.search("honey", k="10")  # expect error
    connector.search("honey", limt=10)  # expect error
    vecdb_rerank.connect(expect=AsyncQdrantConnector)  # expect error
    vecdb_rerank.connect(7)  # expect error
    vecdb_rerank.QdrantConnector  # expect error


async def connecting_async() -> None:
    connector = vecdb_rerank.connect_async()
    assert_type(connector, AsyncConnector[Any])
    assert_type(await connector.add(DOCUMENTS), IngestReport)
    await asyncio.create_task(connector.search("honey"))
    exact = vecdb_rerank.connect_async(expect=AsyncOpenSearchConnector)
    assert_type(await exact.search("honey"), Hits)
    async with vecdb_rerank.connect_async() as entered:
        assert_type(entered, AsyncConnector[Any])

    await connector.search("honey", k="10")  # expect error
    vecdb_rerank.connect_async(expect=QdrantConnector)  # expect error
