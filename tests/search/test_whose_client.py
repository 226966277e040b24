"""A client that was handed in: of the right kind, and not closed by anybody else."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_opensearch import (
    AsyncOpenSearchConnector,
    AsyncRerankingOpenSearch,
    OpenSearchConnector,
    RerankingOpenSearch,
)
from vecdb_rerank_qdrant import (
    AsyncQdrantConnector,
    AsyncRerankingQdrantClient,
    QdrantConnector,
    RerankingQdrantClient,
)

BARE: dict[str, Any] = {"reranker": None, "embedder": None}


@pytest.mark.parametrize(
    ("connector", "kind", "right"),
    [
        (QdrantConnector, AsyncQdrantClient, "AsyncQdrantConnector"),
        (AsyncQdrantConnector, QdrantClient, "QdrantConnector"),
        (OpenSearchConnector, AsyncOpenSearch, "AsyncOpenSearchConnector"),
        (AsyncOpenSearchConnector, OpenSearch, "OpenSearchConnector"),
    ],
)
async def test_a_client_of_the_other_kind_is_refused(connector: Any, kind: Any, right: str) -> None:
    client = made(kind)
    told = f"^client: is of type {kind.__name__}; give it to {right}$"
    with pytest.raises(ConfigurationError, match=told):
        connector(client, "docs", **BARE)
    await closed(client)


@pytest.mark.parametrize(
    ("connector", "wrapper", "kind"),
    [
        (QdrantConnector, RerankingQdrantClient, QdrantClient),
        (AsyncQdrantConnector, AsyncRerankingQdrantClient, AsyncQdrantClient),
        (OpenSearchConnector, RerankingOpenSearch, OpenSearch),
        (AsyncOpenSearchConnector, AsyncRerankingOpenSearch, AsyncOpenSearch),
    ],
)
async def test_a_drop_in_client_is_refused_by_connectors_and_drop_ins(
    connector: Any, wrapper: Any, kind: Any
) -> None:
    client = made(kind)
    drop_in = wrapper(client, None)
    told = f"^client: a {wrapper.__name__} reranks already, .* give the plain client"
    with pytest.raises(ConfigurationError, match=told):
        connector(drop_in, "docs", **BARE)
    with pytest.raises(ConfigurationError, match=told):
        wrapper(drop_in, None)
    assert connector(client, "docs", **BARE).client is client
    await closed(client)


def made(kind: Any) -> Any:
    return kind(":memory:" if "Qdrant" in kind.__name__ else "http://127.0.0.1:1")


async def closed(client: Any) -> None:
    if (closing := client.close()) is not None:
        await closing


def test_a_client_stays_open_unless_the_connector_is_told_to_close_it() -> None:
    client = QdrantClient(":memory:")
    with QdrantConnector(client, "docs", **BARE):
        pass
    assert client.get_collections().collections == []
    with QdrantConnector(client, "docs", close_client=True, **BARE):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        client.get_collections()


async def test_an_asynchronous_client_stays_open_unless_the_connector_is_told() -> None:
    client = AsyncQdrantClient(":memory:")
    async with AsyncQdrantConnector(client, "docs", **BARE):
        pass
    assert (await client.get_collections()).collections == []
    async with AsyncQdrantConnector(client, "docs", close_client=True, **BARE):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await client.get_collections()
