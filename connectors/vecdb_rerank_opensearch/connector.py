"""The OpenSearch connectors, synchronous and asynchronous."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank._checks import check_type, is_text, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.request import Language, check_language
from vecdb_rerank.search.arguments import (
    CommonSearchOptions,
    ConnectorOptions,
    check_client,
)
from vecdb_rerank.search.connector import AsyncConnector, Connector
from vecdb_rerank.search.core import Core
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import queries
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout
from vecdb_rerank_opensearch.responses import Response
from vecdb_rerank_opensearch.store import OpenSearchStore

_FIELD = re.compile(r"[^^]+(\^(\d+\.?\d*|\.\d+))?")  # a name, and perhaps its boost


class OpenSearchSearchOptions(CommonSearchOptions, total=False):
    """The options of an OpenSearch search; `OpenSearchConnector.search` describes them."""

    filter: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
    _source: bool | str | Sequence[str] | Mapping[str, Any] | None
    highlight: Mapping[str, Any] | None
    aggs: Mapping[str, Any] | None
    routing: str | None
    preference: str | None
    body: Mapping[str, Any] | None


class OpenSearchConnector(Connector[Response]):
    """Hybrid search over an OpenSearch index, reranked, in OpenSearch's own response format.

    Args:
        client: an `OpenSearch` client.
        index: an index, an alias or a pattern.
        dense_vector: name of the ``knn_vector`` field; None if the index has none. Searches then
            are BM25 alone.
        bm25_fields: the text fields that BM25 searches, boosts allowed (``title^2``); by default
            the field that `create` and `add` keep for it. Without any, searches are dense.
        language: language of the texts; it decides the analyzer of an index that `create` makes.
        reranker: scores the candidates: ``"bundled"`` (default) for the bundled cross-encoder, a
            reranker, a function of a query and texts (see `FunctionReranker`), the name of an
            installed one for its defaults (``"cohere"``), a sequence of these (the next one is
            called if one fails), or None.
        embedder: embeds queries and documents: ``"bundled"`` (default), an embedder, a function
            from texts to vectors (see `FunctionEmbedder`), or None.
        text_fields: which source fields are a document's text (default: title and text).
        policy: deadline, failures, minimum relevance, blend and more: a `Policy`, or its fields as
            a mapping, as in the table ``[policy]`` of the settings.
        defaults: k, limit, mode, depth and fusion of searches that do not set them.
        close_client: whether `close` closes the client too (default False).

    Raises `ConfigurationError` if the client is of another kind or an option is wrong.

    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        dense_vector: str | None = "dense",
        bm25_fields: Sequence[str] = (BM25_TEXT,),
        language: Language = "english",
        **options: Unpack[ConnectorOptions],
    ) -> None:
        check_client(client, OpenSearch, AsyncOpenSearch, "AsyncOpenSearchConnector")
        layout = _layout(index, dense_vector, bm25_fields, language)
        super().__init__(_core(client, layout, options))
        self.client = client

    def search(self, query: str, **options: Unpack[OpenSearchSearchOptions]) -> Response:
        """Search, rerank ``k`` candidates, return ``limit`` of them from ``offset``.

        Args:
            query: the user's text.
            k: candidates of the first pass to rerank (1 to 10,000, default 50).
            limit: hits returned, at most ``k`` (default 10; OpenSearch's ``size``).
            offset: hits of the reranked window to skip (default 0); pages never overlap.
            mode: ``hybrid`` (default: all branches that the index has), ``dense`` or ``bm25``.
            filter: an OpenSearch query, or a list of them, applied in every branch.
            query_vector: the query's dense vector, shape (dimension,), instead of the embedder's.
            depth: hits taken from each branch of a hybrid search (1 to 10,000, default ``k``).
            fusion: how the branches are joined.
            payload: ``all``, ``page`` (the source comes in a second request, for the hits that are
                returned) or ``auto`` (default), which is ``page`` for large sources. Ignored with
                highlights, inner hits, script or stored fields, versions and explain.
            rerank: False for the first-pass order; a `Policy` applies to this call alone.
            explain: report each hit's branch ranks, relevance and scores in the outcome.
            _source: as in OpenSearch's search, like all options below; by default the source
                comes without the dense vector and the BM25 text.
            highlight: the fields to highlight.
            aggs: aggregations.
            routing: the shards to search.
            preference: the copies of the shards to search.
            body: more keys of the request body, such as ``track_total_hits``.

        Raises `ConfigurationError` if an argument is wrong, `FirstPassError` if OpenSearch fails,
        and `FirstPassTimeoutError` if it misses the deadline. A failing reranker raises
        `RerankError` only with ``on_error="raise"``. If the embedder fails, a hybrid search is one
        by BM25 alone; in mode ``dense``, or with ``on_error="raise"``, it raises `FirstPassError`.

        """
        queries.check(options.get("body"), options.get("filter"))
        return run(self._core.search(query, options))


class AsyncOpenSearchConnector(AsyncConnector[Response]):
    """`OpenSearchConnector` over an `AsyncOpenSearch` client: same options, awaited methods."""

    def __init__(
        self,
        client: AsyncOpenSearch,
        index: str,
        *,
        dense_vector: str | None = "dense",
        bm25_fields: Sequence[str] = (BM25_TEXT,),
        language: Language = "english",
        **options: Unpack[ConnectorOptions],
    ) -> None:
        check_client(client, AsyncOpenSearch, OpenSearch, "OpenSearchConnector")
        layout = _layout(index, dense_vector, bm25_fields, language)
        super().__init__(_core(client, layout, options))
        self.client = client

    async def search(self, query: str, **options: Unpack[OpenSearchSearchOptions]) -> Response:
        """Search as `OpenSearchConnector.search` does, with the same options."""
        queries.check(options.get("body"), options.get("filter"))
        return await run_async(self._core.search(query, options))


def _layout(
    index: str, dense_vector: str | None, bm25_fields: Sequence[str], language: Language
) -> Layout:
    is_text("index", index, "the name of an index, an alias or a pattern")
    if dense_vector is not None:
        is_text("dense_vector", dense_vector, "the name of a knn_vector field")
    if isinstance(bm25_fields, str):
        raise ConfigurationError("bm25_fields", f"expected a list, got a string: [{bm25_fields!r}]")
    if not isinstance(bm25_fields, Sequence):
        raise ConfigurationError("bm25_fields", f"must name fields, got {shown(bm25_fields)}")
    for field in bm25_fields:
        is_text("bm25_fields", field, "names of text fields")
        if not _FIELD.fullmatch(field):
            raise ConfigurationError(
                "bm25_fields", f"must be names, with boosts as in title^2; got {field!r}"
            )
    check_language(language)
    return Layout(index, dense_vector, tuple(bm25_fields), language)


def _core(
    client: OpenSearch | AsyncOpenSearch, layout: Layout, options: ConnectorOptions
) -> Core[Response]:
    check_type("text_fields", options.get("text_fields"), TextFields)
    store = OpenSearchStore(client, layout, options.get("text_fields") or TextFields())
    return Core(store, OpenSearchSearchOptions, **options)
