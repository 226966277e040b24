"""The client given to a connector: it must be of the right kind, and stays open."""

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
    with pytest.raises(ConfigurationError, match=right) as caught:
        connector(client, "docs", **BARE)
    assert caught.value.key == "client"
    await closed(client)


@pytest.mark.parametrize("connector", [QdrantConnector, AsyncOpenSearchConnector])
@pytest.mark.parametrize("client", [None, "http://localhost:6333", object(), QdrantClient])
def test_what_is_no_client_is_refused(connector: Any, client: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connector(client, "docs", **BARE)
    assert caught.value.key == "client"


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
    for take, arguments in ((connector, ["docs"]), (wrapper, [])):
        with pytest.raises(ConfigurationError, match="already") as caught:
            take(drop_in, *arguments, reranker=None)
        assert caught.value.key == "client"
    assert connector(client, "docs", **BARE).client is client
    await closed(client)


def made(kind: Any) -> Any:
    return kind(":memory:" if "Qdrant" in kind.__name__ else "http://127.0.0.1:1")


async def closed(client: Any) -> None:
    if (closing := client.close()) is not None:
        await closing


def test_a_client_stays_open_without_close_client() -> None:
    client = QdrantClient(":memory:")
    with QdrantConnector(client, "docs", **BARE):
        pass
    assert client.get_collections().collections == []
    with QdrantConnector(client, "docs", close_client=True, **BARE):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        client.get_collections()


async def test_an_asynchronous_client_stays_open_without_close_client() -> None:
    client = AsyncQdrantClient(":memory:")
    async with AsyncQdrantConnector(client, "docs", **BARE):
        pass
    assert (await client.get_collections()).collections == []
    async with AsyncQdrantConnector(client, "docs", close_client=True, **BARE):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await client.get_collections()
