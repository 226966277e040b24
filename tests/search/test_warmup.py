"""What `warmup` loads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector


class Loads(BaseReranker):
    """A reranker with something to load, which may fail."""

    name = ""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self._error = error
        self.loaded = 0

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return KeepingReranker().score(query, documents, deadline=deadline)

    def warmup(self) -> None:
        if self._error is not None:
            raise self._error
        self.loaded += 1


class CountingEmbedder(HashEmbedder):
    asked = 0

    def embed_query(self, text: str) -> Any:
        self.asked += 1
        return super().embed_query(text)


def connector(reranker: Any, embedder: Any = None) -> QdrantConnector:
    return QdrantConnector(
        QdrantClient(":memory:"), "docs", reranker=reranker, embedder=embedder, close_client=True
    )


def test_each_model_is_loaded_and_the_database_left_alone() -> None:
    first, second, embedder = Loads("first"), Loads("second"), CountingEmbedder()
    with connector([first, second, KeepingReranker()], embedder) as one:
        one.warmup()
    assert (first.loaded, second.loaded, embedder.asked) == (1, 1, 1)


def test_both_of_a_cascade_are_loaded() -> None:
    first, then = Loads("first"), Loads("then")
    with connector(CascadeReranker(first, then)) as one:
        one.warmup()
    assert (first.loaded, then.loaded) == (1, 1)


def test_nothing_to_load_is_fine() -> None:
    with connector(None) as one:
        one.warmup()


def test_the_bundled_model_is_there_afterwards() -> None:
    reranker = OnnxReranker(max_length=99)
    with connector(reranker) as one:
        one.warmup()
    assert "model" in vars(reranker)


def test_a_model_that_does_not_load_raises() -> None:
    broken = Loads("broken", ConfigurationError("model", "/no/such is not a folder"))
    with connector(broken) as one, pytest.raises(ConfigurationError) as caught:
        one.warmup()
    assert caught.value.key == "model"


def test_an_asynchronous_connector_awaits_it() -> None:
    reranker = Loads("one")

    async def main() -> None:
        client = AsyncQdrantClient(":memory:")
        async with AsyncQdrantConnector(
            client, "docs", reranker=reranker, embedder=None, close_client=True
        ) as one:
            await one.warmup()

    asyncio.run(main())
    assert reranker.loaded == 1
