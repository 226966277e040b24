"""The Qdrant connectors, synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from inspect import getdoc
from typing import Any, ClassVar, Generic

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from vecdb_rerank.ingest.model import IngestReport
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.request import Fusion, Mode, SearchDefaults
from vecdb_rerank.search.connector import (
    AsyncDriver,
    Bundled,
    Connector,
    CreatedT,
    Finding,
    ProblemsT,
    ReportT,
    Rerankers,
    SearchT,
    SyncDriver,
    refuse_wrong_client,
)
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.store import QdrantStore


class _Qdrant(
    Connector[models.QueryResponse, SearchT, ReportT, CreatedT, ProblemsT],
    Generic[SearchT, ReportT, CreatedT, ProblemsT],
):
    """Hybrid search over a Qdrant collection, reranked, in Qdrant's own schema.

    Args:
        client: the client you have.
        collection: the collection's name.
        dense_vector: the dense vector's name; None for the unnamed one.
        bm25_vector: the name of the sparse vector (``modifier=idf``).
        bm25: BM25's parameters, used at ingest, and the language of the texts.
        reranker: scores the hits; by default the bundled cross-encoder; None for none; a sequence
            of several is a chain, in which the next one is asked where one fails.
        embedder: embeds queries and documents; by default the bundled one; None for none.
        documents: which payload fields are a document's text.
        policy: deadline, failures, minimum relevance.
        defaults: k, limit, mode, depth and fusion where a call does not say.
        close_client: close the client with the connector; by default it stays open.

    """

    _other: ClassVar[type]  # the client of the other colour, and whom it is for
    _instead: ClassVar[str]

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        collection: str,
        *,
        dense_vector: str | None = "dense",
        bm25_vector: str = "bm25",
        bm25: Bm25 | None = None,
        reranker: Rerankers = "bundled",
        embedder: Embedder | Bundled | None = "bundled",
        text_fields: TextFields | None = None,
        policy: Policy | None = None,
        defaults: SearchDefaults | None = None,
        close_client: bool = False,
    ) -> None:
        refuse_wrong_client(client, self._other, self._instead)
        documents = text_fields or TextFields()
        layout = Layout(collection, dense_vector, bm25_vector)
        super().__init__(
            QdrantStore(client, layout, bm25 or Bm25(), documents),
            reranker=reranker,
            embedder=embedder,
            text_fields=text_fields,
            policy=policy,
            defaults=defaults,
            close_client=close_client,
        )
        self.client = client

    def search(
        self,
        query: str,
        *,
        k: int | None = None,
        limit: int | None = None,
        offset: int = 0,
        mode: Mode | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        query_vector: Vector | None = None,
        depth: int | None = None,
        fusion: Fusion | None = None,
        rerank: bool | Policy = True,
        explain: bool = False,
        with_payload: Any = None,
        with_vectors: bool | Sequence[str] | None = None,
        score_threshold: float | None = None,
        search_params: models.SearchParams | None = None,
        shard_key_selector: Any = None,
        consistency: Any = None,
    ) -> SearchT:
        """Search, rerank ``k`` candidates, return ``limit`` of them from ``offset``.

        Args:
            query: the user's text.
            k: candidates of the first pass that are reranked (default 50).
            limit: hits returned (default 10), at most ``k``.
            offset: hits of the reranked window to leave out; pages never overlap.
            mode: ``hybrid`` (default), ``dense`` or ``bm25``.
            filter: a Qdrant filter, or the same as JSON has it, applied in every branch.
            query_vector: the query's dense vector, shape (dimension,), instead of the embedder.
            depth: hits taken from each branch of a hybrid search (default ``k``).
            fusion: how the branches are joined.
            rerank: False for the first-pass order.
            explain: put branch ranks, relevance and scores of each hit in the outcome.
            with_payload, with_vectors, score_threshold, search_params, shard_key_selector,
                consistency: as in ``query_points``; the threshold tests first-pass scores.

        Raises `ConfigurationError` for wrong arguments, `FirstPassError` when Qdrant fails or
        `FirstPassTimeoutError` when it is late. A failing reranker raises only under
        ``on_error="raise"``.

        """
        return self._search(
            query,
            k=k,
            limit=limit,
            offset=offset,
            mode=mode,
            depth=depth,
            fusion=fusion,
            filter=filter,
            query_vector=query_vector,
            rerank=rerank,
            explain=explain,
            native={
                "with_payload": with_payload,
                "with_vectors": with_vectors,
                "score_threshold": score_threshold,
                "search_params": search_params,
                "shard_key_selector": shard_key_selector,
                "consistency": consistency,
            },
        )


class QdrantConnector(SyncDriver, _Qdrant[models.QueryResponse, IngestReport, bool, list[Finding]]):
    """`_Qdrant` over a `QdrantClient`."""

    _other = AsyncQdrantClient
    _instead = "AsyncQdrantConnector"


class AsyncQdrantConnector(
    AsyncDriver,
    _Qdrant[
        Awaitable[models.QueryResponse],
        Awaitable[IngestReport],
        Awaitable[bool],
        Awaitable[list[Finding]],
    ],
):
    """`_Qdrant` over an `AsyncQdrantClient`: every method is awaited."""

    _other = QdrantClient
    _instead = "QdrantConnector"


for _connector in (QdrantConnector, AsyncQdrantConnector):
    _connector.__doc__ = f"{_connector.__doc__}\n\n{getdoc(_Qdrant)}"
