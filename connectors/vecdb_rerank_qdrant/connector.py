"""The Qdrant connectors, synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, get_args

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.conversions import common_types as types
from qdrant_client.http import models

from vecdb_rerank._checks import check_type
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.search.arguments import (
    CommonSearchOptions,
    ConnectorOptions,
    check_client,
)
from vecdb_rerank.search.connector import AsyncConnector, Connector
from vecdb_rerank.search.core import Core
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.queries import native_filter
from vecdb_rerank_qdrant.store import QdrantStore


class QdrantSearchOptions(CommonSearchOptions, total=False):
    """The options of a Qdrant search; `QdrantConnector.search` describes them."""

    filter: models.Filter | Mapping[str, Any] | None
    with_payload: types.WithPayloadInterface | None
    with_vectors: bool | Sequence[str] | None
    score_threshold: float | None
    search_params: models.SearchParams | None
    shard_key_selector: types.ShardKeySelector | None
    consistency: types.ReadConsistency | None


class QdrantConnector(Connector[models.QueryResponse]):
    """Hybrid search over a Qdrant collection, reranked, in Qdrant's own schema.

    Args:
        client: a `QdrantClient`: REST, gRPC or local.
        collection: name of the collection.
        dense_vector: name of the dense vector (default ``dense``); None for the unnamed one,
            ``"none"`` if the collection has none. Searches then are BM25 alone.
        bm25_vector: name of the sparse vector with ``modifier=idf`` (default ``bm25``); None if
            the collection has none. Searches then are dense, or use the ``text_index``.
        text_index: instead of ``bm25_vector``, the payload field whose text index has
            ``scoring``: BM25 without sparse vectors (Qdrant 1.20 or later, or local mode).
        bm25: BM25's parameters, used when documents are added (or by the ``text_index`` at each
            search), and the language of the texts.
        reranker: scores the candidates: ``"bundled"`` (default) for the bundled cross-encoder, a
            reranker, a function of a query and texts (see `FunctionReranker`), the name of an
            installed one for its defaults (``"cohere"``), a sequence of these (the next one is
            called if one fails), or None.
        embedder: embeds queries and documents: ``"bundled"`` (default), an embedder, a function
            from texts to vectors (see `FunctionEmbedder`), or None.
        text_fields: which payload fields are a document's text (default: title and text).
        policy: deadline, failures, minimum relevance, blend and more: a `Policy`, or its fields as
            a mapping, as in the table ``[policy]`` of the settings.
        defaults: k, limit, mode, depth and fusion of searches that do not set them.
        close_client: whether `close` closes the client too (default False).

    Raises `ConfigurationError` if the client is of another kind or an option is wrong.

    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        dense_vector: str | None = "dense",
        bm25_vector: str | None = "bm25",
        text_index: str | None = None,
        bm25: Bm25 | None = None,
        **options: Unpack[ConnectorOptions],
    ) -> None:
        check_client(client, QdrantClient, AsyncQdrantClient, "AsyncQdrantConnector")
        layout = Layout(collection, dense_vector, bm25_vector, text_index)
        super().__init__(_core(client, layout, bm25, options))
        self.client = client

    def search(self, query: str, **options: Unpack[QdrantSearchOptions]) -> models.QueryResponse:
        """Search, rerank ``k`` candidates, return ``limit`` of them from ``offset``.

        Args:
            query: the user's text.
            k: candidates of the first pass to rerank (1 to 10,000, default 50).
            limit: hits returned, at most ``k`` (default 10).
            offset: hits of the reranked window to skip (default 0); pages never overlap.
            mode: ``hybrid`` (default: all branches that the collection has), ``dense`` or ``bm25``.
            filter: a Qdrant filter, or its JSON form, applied in every branch.
            query_vector: the query's dense vector, shape (dimension,), instead of the embedder's.
            depth: hits taken from each branch of a hybrid search (1 to 10,000, default ``k``).
            fusion: how the branches are joined.
            payload: ``all``, ``page`` (payload and vectors come in a second request, for the hits
                that are returned) or ``auto`` (default), which is ``page`` for large payloads.
            rerank: False for the first-pass order; a `Policy` applies to this call alone.
            explain: report each hit's branch ranks, relevance and scores in the outcome.
            with_payload: as in ``query_points``, like all options below.
            with_vectors: whether, or which, vectors are returned.
            score_threshold: minimum first-pass score.
            search_params: parameters of the index.
            shard_key_selector: the shards to search.
            consistency: read consistency.

        Raises `ConfigurationError` if an argument is wrong, `FirstPassError` if Qdrant fails, and
        `FirstPassTimeoutError` if it misses the deadline. A failing reranker raises `RerankError`
        only with ``on_error="raise"``. If the embedder fails, a hybrid search is one by BM25 alone;
        in mode ``dense``, or with ``on_error="raise"``, it raises `FirstPassError`.

        """
        _check(options)
        return run(self._core.search(query, options))


class AsyncQdrantConnector(AsyncConnector[models.QueryResponse]):
    """`QdrantConnector` over an `AsyncQdrantClient`: same options, awaited methods."""

    def __init__(
        self,
        client: AsyncQdrantClient,
        collection: str,
        *,
        dense_vector: str | None = "dense",
        bm25_vector: str | None = "bm25",
        text_index: str | None = None,
        bm25: Bm25 | None = None,
        **options: Unpack[ConnectorOptions],
    ) -> None:
        check_client(client, AsyncQdrantClient, QdrantClient, "QdrantConnector")
        layout = Layout(collection, dense_vector, bm25_vector, text_index)
        super().__init__(_core(client, layout, bm25, options))
        self.client = client

    async def search(
        self, query: str, **options: Unpack[QdrantSearchOptions]
    ) -> models.QueryResponse:
        """Search as `QdrantConnector.search` does, with the same options."""
        _check(options)
        return await run_async(self._core.search(query, options))


def _check(options: QdrantSearchOptions) -> None:
    """Raise `ConfigurationError` for a native option that the client would stumble over."""
    native_filter(options.get("filter"))
    check_type("score_threshold", options.get("score_threshold"), int, float)
    selectors = (bool, list, tuple, models.PayloadSelectorInclude, models.PayloadSelectorExclude)
    check_type("with_payload", options.get("with_payload"), *selectors)
    check_type("with_vectors", options.get("with_vectors"), bool, list, tuple)
    params = (*get_args(types.SearchParams), Mapping)
    check_type("search_params", options.get("search_params"), *params)


def _core(
    client: QdrantClient | AsyncQdrantClient,
    layout: Layout,
    bm25: Bm25 | None,
    options: ConnectorOptions,
) -> Core[models.QueryResponse]:
    check_type("bm25", bm25, Bm25)
    check_type("text_fields", options.get("text_fields"), TextFields)
    text_fields = options.get("text_fields") or TextFields()
    store = QdrantStore(client, layout, bm25 or Bm25(), text_fields)
    return Core(store, QdrantSearchOptions, **options)
