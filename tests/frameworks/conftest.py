"""One collection for all frameworks, with the bundled models."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from opensearchpy import OpenSearch
from qdrant_client import QdrantClient

from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.testing.base import new_name
from vecdb_rerank.testing.corpus import CORPUS
from vecdb_rerank_opensearch import OpenSearchConnector
from vecdb_rerank_qdrant import QdrantConnector


@pytest.fixture(scope="session")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder()


@pytest.fixture(scope="session")
def reranker() -> OnnxReranker:
    return OnnxReranker()


@pytest.fixture(scope="session")
def connector(embedder: OnnxEmbedder, reranker: OnnxReranker) -> Iterator[QdrantConnector]:
    """An embedded Qdrant that holds `CORPUS`."""
    connector = QdrantConnector(
        QdrantClient(":memory:", force_disable_check_same_thread=True),
        "frameworks",
        embedder=embedder,
        reranker=reranker,
        close_client=True,
    )
    connector.create()
    assert connector.add(CORPUS).added == len(CORPUS)
    yield connector
    connector.close()


@pytest.fixture(scope="session")
def index(opensearch_url: str) -> Iterator[str]:
    """The name of an index that a framework may make; it is deleted in the end."""
    name = new_name()
    yield name
    with OpenSearch(opensearch_url) as client:
        client.indices.delete(index=f"{name}*")


@pytest.fixture(scope="session")
def opensearch_connector(
    opensearch_url: str, index: str, embedder: OnnxEmbedder, reranker: OnnxReranker
) -> Iterator[OpenSearchConnector]:
    """An OpenSearch index that holds `CORPUS`."""
    connector = OpenSearchConnector(
        OpenSearch(opensearch_url), index, embedder=embedder, reranker=reranker, close_client=True
    )
    connector.create()
    assert connector.add(CORPUS).added == len(CORPUS)
    yield connector
    connector.close()


class Blocking:
    """A reranker that waits until ``go`` is set, which a blocked event loop never does."""

    name = "blocking"

    def __init__(self) -> None:
        self.go = threading.Event()

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        assert self.go.wait(30), "the event loop was blocked"
        return [(n + 1) / 100 for n in range(len(texts))]


@pytest.fixture
def blocking() -> Blocking:
    return Blocking()
