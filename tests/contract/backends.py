"""Every backend that can be had here, each as one client for the whole session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from opensearchpy import AsyncOpenSearch, OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.servers import qdrant_source
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.search.connector import AsyncConnector
from vecdb_rerank.testing.base import caller
from vecdb_rerank_opensearch import AsyncOpenSearchConnector, OpenSearchConnector
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

LOCAL = ["qdrant-local", "qdrant-local-async"]
SERVED = ["qdrant-rest", "qdrant-rest-async", "qdrant-grpc", "qdrant-grpc-async"]
OPENSEARCH = ["opensearch", "opensearch-async"]


def qdrant_names() -> list[str]:
    """The kinds of Qdrant that are tested: known once pytest has read its options."""
    return [*LOCAL, *(SERVED if qdrant_source() else [])]


@dataclass(frozen=True)
class Backend:
    """A client, and how to call what is built on it."""

    name: str
    client: Any
    call: Callable[[Any], Any]

    def connect(self, collection: str, **options: Any) -> Any:
        """A connector over this client."""
        asynchronous = self.name.endswith("async")
        if self.name.startswith("qdrant"):
            qdrant = AsyncQdrantConnector if asynchronous else QdrantConnector
            return qdrant(self.client, collection, **options)
        opensearch = AsyncOpenSearchConnector if asynchronous else OpenSearchConnector
        return opensearch(self.client, collection, **options)


@contextmanager
def opened(name: str, client: Any) -> Iterator[Backend]:
    """The backend over ``client``, which is closed in the end; async ones share one loop."""
    with asyncio.Runner() as runner:
        call = caller(runner)
        try:
            yield Backend(name, client, call)
        finally:
            call(client.close())


def qdrant_client(
    name: str, url: str = "", grpc_port: int = 0, *, kind: Any = None, **options: Any
) -> Any:
    """A Qdrant client of the kind ``name``, or of a subclass ``kind``."""
    kind = kind or (AsyncQdrantClient if name.endswith("async") else QdrantClient)
    if "local" in name:
        return kind(":memory:")
    options = {"timeout": 30, **options}
    return kind(url=url, grpc_port=grpc_port or 6334, prefer_grpc="grpc" in name, **options)


def down(_texts: Sequence[str]) -> list[list[float]]:
    """An embedder that is out of order."""
    raise ConnectionError("out of order")


def first_pass_notes(
    call: Callable[[Any], Any], connector: Any, query: str, **options: Any
) -> Mapping[str, str]:
    """The notes of the first pass of a search."""
    vector = connector.pipeline.embedder.embed_query(query)
    plain = Search(query, k=50, limit=10, offset=0, mode="hybrid", depth=50, fusion=Fusion())
    flow = connector.store.first_pass(replace(plain, **options), vector, Deadline())
    found: FirstPass[Any] = call(
        run_async(flow) if isinstance(connector, AsyncConnector) else run(flow)
    )
    return found.notes


def opensearch_client(name: str, url: str) -> Any:
    """An OpenSearch client of the kind ``name``."""
    return AsyncOpenSearch(url) if name.endswith("async") else OpenSearch(url)


class Remembering:
    """The bundled models, which read each text once in a session: every backend has the same."""

    name = "bundled"
    keeps_deadline = True

    def __init__(self) -> None:
        self._embedder = OnnxEmbedder()
        self._reranker = OnnxReranker()
        self._queries: dict[str, Vector] = {}
        self._documents: dict[str, Vector] = {}
        self._logits: dict[tuple[str, str], float | None] = {}

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        if text not in self._queries:
            self._queries[text] = self._embedder.embed_query(text)
        return self._queries[text]

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        new = [text for text in dict.fromkeys(texts) if text not in self._documents]
        self._documents.update(zip(new, self._embedder.embed_documents(new), strict=True))
        return [self._documents[text] for text in texts]

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        new = [text for text in documents if (query, text) not in self._logits]
        raw = self._reranker.score(query, new, deadline=Deadline()).raw if new else ()
        self._logits.update(((query, text), x) for text, x in zip(new, raw, strict=True))
        return Scores.from_logits([self._logits[query, text] for text in documents])
