"""A framework's own store over a reranking client: it takes it, and its answers are reranked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_community.vectorstores import OpenSearchVectorSearch as LangChainStore
from langchain_core.embeddings import Embeddings
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.opensearch import OpensearchVectorClient, OpensearchVectorStore
from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank import Policy, TextFields, observe, rerank_query
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch

QUESTION = "How many people live in Berlin?"
ANSWER = "Berlin has a population of 3.7 million registered inhabitants."
TEXTS = [
    "How many people visit museums in Berlin? How many people live well in Berlin?",
    "Many people live in many houses.",
    ANSWER,
    "Cats sleep most of the day.",
]
EMBEDDER = HashEmbedder(64)
METHOD = {"name": "hnsw", "engine": "lucene", "space_type": "l2"}
OPTIONS: dict[str, Any] = {
    "text_fields": TextFields(("content",)),
    "policy": Policy(deadline=None, blend=Blend("replace")),
}
NORMALISED: Any = {"phase_results_processors": [{"normalization-processor": {}}]}


@pytest.fixture
def index(opensearch_url: str) -> Iterator[str]:
    name = new_name()
    with OpenSearch(opensearch_url) as client:
        client.transport.perform_request("PUT", f"/_search/pipeline/{name}", body=NORMALISED)
        yield name
        client.indices.delete(index=name)
        client.transport.perform_request("DELETE", f"/_search/pipeline/{name}")


def store(url: str, index: str, wrapped: bool) -> OpensearchVectorStore:
    client, other = OpenSearch(url), AsyncOpenSearch(url)
    ours: Any = RerankingOpenSearch(client, **OPTIONS) if wrapped else client
    ours_async: Any = AsyncRerankingOpenSearch(other, **OPTIONS) if wrapped else other
    return OpensearchVectorStore(
        OpensearchVectorClient(
            url,
            index,
            64,
            method=METHOD,
            engine="lucene",
            search_pipeline=index,
            os_client=ours,
            os_async_client=ours_async,
        )
    )


def query(mode: VectorStoreQueryMode) -> VectorStoreQuery:
    return VectorStoreQuery(
        query_embedding=EMBEDDER.embed_query(QUESTION),
        query_str=QUESTION,
        similarity_top_k=2,
        mode=mode,
    )


def nodes() -> list[BaseNode]:
    return [TextNode(text=text, embedding=EMBEDDER.embed_query(text)) for text in TEXTS]


@pytest.mark.parametrize("mode", ["default", "text_search", "hybrid"])
async def test_llama_index(opensearch_url: str, index: str, mode: str) -> None:
    asked = query(VectorStoreQueryMode(mode))
    raw, ours = store(opensearch_url, index, False), store(opensearch_url, index, True)
    await ours.async_add(nodes())
    await ours.client._os_async_client.indices.refresh(index=index)
    assert isinstance(ours.client._os_client, OpenSearch)
    first = raw.query(asked)
    assert first.nodes is not None
    assert first.nodes[0].get_content() == TEXTS[0]
    with observe() as outcomes, rerank_query(QUESTION):
        found = ours.query(asked)
        same = await ours.aquery(asked)
    assert [outcome.status for outcome in outcomes] == ["reranked", "reranked"]
    for answer in (found, same):
        assert answer.nodes is not None
        assert answer.nodes[0].get_content() == ANSWER
        assert len(answer.nodes) == 2
    for made in (raw, ours):
        made.client._os_client.close()
        await made.client._os_async_client.close()


class Hashed(Embeddings):
    """Embeds by words alone."""

    def embed_query(self, text: str) -> list[float]:
        return EMBEDDER.embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return EMBEDDER.embed_documents(texts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchain(opensearch_url: str) -> None:
    """It makes its own client, which is wrapped afterwards."""
    made = LangChainStore.from_texts(
        TEXTS, Hashed(), opensearch_url=opensearch_url, index_name=new_name(), engine="lucene"
    )
    store: Any = made
    store.client.indices.refresh(index=store.index_name)
    assert store.similarity_search(QUESTION, k=2)[0].page_content == TEXTS[0]
    options = {**OPTIONS, "text_fields": TextFields(("text",))}
    store.client = RerankingOpenSearch(store.client, **options)
    with observe() as outcomes, rerank_query(QUESTION):
        found = store.similarity_search(QUESTION, k=2)
    assert [outcome.status for outcome in outcomes] == ["reranked"]
    assert found[0].page_content == ANSWER
    assert len(found) == 2
    store.client.indices.delete(index=store.index_name)
    store.client.close()
