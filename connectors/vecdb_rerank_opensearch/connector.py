"""The OpenSearch connectors, synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from inspect import getdoc
from typing import Any, ClassVar, Generic

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.ingest.model import IngestReport
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.request import Fusion, Language, Mode, SearchDefaults, check_language
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
from vecdb_rerank_opensearch import queries
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout
from vecdb_rerank_opensearch.responses import Response
from vecdb_rerank_opensearch.store import OpenSearchStore


class _OpenSearch(
    Connector[Response, SearchT, ReportT, CreatedT, ProblemsT],
    Generic[SearchT, ReportT, CreatedT, ProblemsT],
):
    """Hybrid search over an OpenSearch index, reranked, as OpenSearch's own response.

    Args:
        client: the client you have.
        index: the index, an alias or a pattern.
        dense_vector: the ``knn_vector`` field.
        bm25_fields: the text fields that BM25 searches, boosts allowed (``title^2``); default
            is the field that `create` and `add` keep for it.
        language: the language of the texts, which `create` chooses the analyzer by.
        reranker: scores the hits; by default the bundled cross-encoder; None for none; a sequence
            of several is a chain, in which the next one is asked where one fails.
        embedder: embeds queries and documents; by default the bundled one; None for none.
        documents: which source fields are a document's text.
        policy: deadline, failures, minimum relevance.
        defaults: k, limit, mode, depth and fusion where a call does not say.
        close_client: close the client with the connector; by default it stays open.

    """

    _other: ClassVar[type]  # the client of the other colour, and whom it is for
    _instead: ClassVar[str]

    def __init__(
        self,
        client: OpenSearch | AsyncOpenSearch,
        index: str,
        *,
        dense_vector: str = "dense",
        bm25_fields: Sequence[str] = (BM25_TEXT,),
        language: Language = "english",
        reranker: Rerankers = "bundled",
        embedder: Embedder | Bundled | None = "bundled",
        text_fields: TextFields | None = None,
        policy: Policy | None = None,
        defaults: SearchDefaults | None = None,
        close_client: bool = False,
    ) -> None:
        refuse_wrong_client(client, self._other, self._instead)
        if isinstance(bm25_fields, str):
            raise ConfigurationError("bm25_fields", f"give a list: [{bm25_fields!r}]")
        documents = text_fields or TextFields()
        check_language(language)
        layout = Layout(index, dense_vector, tuple(bm25_fields), language)
        super().__init__(
            OpenSearchStore(client, layout, documents),
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
        filter: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        query_vector: Vector | None = None,
        depth: int | None = None,
        fusion: Fusion | None = None,
        rerank: bool | Policy = True,
        explain: bool = False,
        _source: Any = None,
        highlight: Mapping[str, Any] | None = None,
        aggs: Mapping[str, Any] | None = None,
        routing: str | None = None,
        preference: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> SearchT:
        """Search, rerank ``k`` candidates, return ``limit`` of them from ``offset``.

        Args:
            query: the user's text.
            k: candidates of the first pass that are reranked (default 50).
            limit: hits returned (default 10; OpenSearch's ``size``), at most ``k``.
            offset: hits of the reranked window to leave out; pages never overlap.
            mode: ``hybrid`` (default), ``dense`` or ``bm25``.
            filter: an OpenSearch query, or a list of them, applied in every branch.
            query_vector: the query's dense vector, shape (dimension,), instead of the embedder.
            depth: hits taken from each branch of a hybrid search (default ``k``).
            fusion: how the branches are joined.
            rerank: False for the first-pass order.
            explain: put branch ranks, relevance and scores of each hit in the outcome.
            _source, highlight, aggs, routing, preference: as in OpenSearch's search; by default
                the source comes without the dense vector and the BM25 text.
            body: more keys of the request body, such as ``track_total_hits``.

        Raises `ConfigurationError` for wrong arguments, `FirstPassError` when OpenSearch fails
        or `FirstPassTimeoutError` when it is late. A failing reranker raises only under
        ``on_error="raise"``.

        """
        queries.check_body(body or {})
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
                "_source": _source,
                "highlight": highlight,
                "aggs": aggs,
                "routing": routing,
                "preference": preference,
                "body": body,
            },
        )


class OpenSearchConnector(SyncDriver, _OpenSearch[Response, IngestReport, bool, list[Finding]]):
    """`_OpenSearch` over an `OpenSearch` client."""

    _other = AsyncOpenSearch
    _instead = "AsyncOpenSearchConnector"


class AsyncOpenSearchConnector(
    AsyncDriver,
    _OpenSearch[
        Awaitable[Response],
        Awaitable[IngestReport],
        Awaitable[bool],
        Awaitable[list[Finding]],
    ],
):
    """`_OpenSearch` over an `AsyncOpenSearch` client: every method is awaited."""

    _other = OpenSearch
    _instead = "OpenSearchConnector"


for _connector in (OpenSearchConnector, AsyncOpenSearchConnector):
    _connector.__doc__ = f"{_connector.__doc__}\n\n{getdoc(_OpenSearch)}"
