"""Frameworks' own stores over a reranking client: they take it, and their answers are reranked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore as LangChainStore
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from tests.contract.backends import SERVED, qdrant_client
from tests.dropin.qdrant.conftest import synchronous
from vecdb_rerank import Policy, TextFields, observe, rerank_query
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

QUESTION = "How many people live in Berlin?"
ANSWER = "Berlin has a population of 3.7 million registered inhabitants."
TEXTS = [
    "How many people visit museums? How many people live well?",
    "Many people live in many houses.",
    ANSWER,
    "Cats sleep most of the day.",
]
POLICY = Policy(deadline=None, blend=Blend("replace"))
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


class Hashed(Embeddings):
    """Embeds by words alone: the first pass prefers a document that repeats the question."""

    _embedder = HashEmbedder(64)

    def embed_query(self, text: str) -> list[float]:
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed_documents(texts)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "raw" in metafunc.fixturenames:
        metafunc.parametrize("raw", synchronous(), indirect=True, scope="function")


@pytest.fixture
def raw(request: pytest.FixtureRequest) -> Iterator[Any]:
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    client = qdrant_client(name, *server, check_compatibility=False)
    client.name = new_name()
    yield client
    client.delete_collection(client.name)
    client.close()


def test_langchains_store_is_reranked(raw: Any) -> None:
    raw.create_collection(
        raw.name, vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE)
    )
    client = RerankingQdrantClient(raw, text_fields=TextFields(("page_content",)), policy=POLICY)
    store = LangChainStore(client=client, collection_name=raw.name, embedding=Hashed())
    store.add_texts(TEXTS)
    first_pass = store.similarity_search(QUESTION, k=1)
    with observe() as outcomes:
        by_argument = store.similarity_search_with_score(QUESTION, k=2, rerank_query=QUESTION)
        with rerank_query(QUESTION):
            (by_block,) = store.as_retriever(search_kwargs={"k": 1}).invoke(QUESTION)
        varied = store.max_marginal_relevance_search(QUESTION, k=2, rerank_query=QUESTION)
    assert first_pass[0].page_content != ANSWER
    assert by_argument[0][0].page_content == by_block.page_content == ANSWER
    assert by_argument[0][1] > by_argument[1][1]
    assert len(varied) == 2
    assert [o.status for o in outcomes] == ["reranked", "reranked", "skipped"]


def nodes() -> list[BaseNode]:
    embeddings = Hashed().embed_documents(TEXTS)
    return [TextNode(text=t, embedding=e) for t, e in zip(TEXTS, embeddings, strict=True)]


def asked() -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=Hashed().embed_query(QUESTION), similarity_top_k=2)


def test_llamaindexs_store_is_reranked(raw: Any) -> None:
    client = RerankingQdrantClient(
        raw, text_fields=TextFields(("_node_content.text",)), policy=POLICY
    )
    store = LlamaIndexStore(raw.name, client=client)
    store.add(nodes())
    assert store.client is client
    first_pass = store.query(asked())
    with observe() as outcomes, rerank_query(QUESTION):
        result = store.query(asked())
    assert text_of(first_pass) != ANSWER
    assert text_of(result) == ANSWER
    assert [o.status for o in outcomes] == ["reranked"]


async def test_llamaindexs_async_store_is_reranked() -> None:
    raw = AsyncQdrantClient(":memory:")
    client = AsyncRerankingQdrantClient(
        raw, text_fields=TextFields(("_node_content.text",)), policy=POLICY
    )
    store = LlamaIndexStore("async", aclient=client)
    await store.async_add(nodes())
    with observe() as outcomes, rerank_query(QUESTION):
        result = await store.aquery(asked())
    assert text_of(result) == ANSWER
    assert [o.status for o in outcomes] == ["reranked"]
    await client.close()


def text_of(result: Any) -> str:
    text: str = result.nodes[0].text
    return text


def test_what_a_framework_checks_is_true() -> None:
    client = RerankingQdrantClient(QdrantClient(":memory:"), None)
    assert isinstance(client, QdrantClient)
    assert not isinstance(client, AsyncQdrantClient)
