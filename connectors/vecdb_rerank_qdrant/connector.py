"""The Qdrant connectors, and the database as the pipeline sees it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from typing import Any, Generic

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from vecdb_rerank.candidates import Candidate, Ranking
from vecdb_rerank.connector import (
    AsyncDriver,
    Bundled,
    Connector,
    CreatedT,
    Finding,
    ProblemsT,
    ReportT,
    SearchT,
    Store,
    SyncDriver,
)
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import Documents
from vecdb_rerank.flow import Call, Flow
from vecdb_rerank.ingest import IngestReport
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder, FirstPass, Reranker, Vector
from vecdb_rerank.search import Fusion, Mode, Search, SearchDefaults
from vecdb_rerank_qdrant import errors, ingest, requests, responses
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.requests import Layout


class QdrantStore(Store[models.QueryResponse]):
    """One Qdrant collection behind any client: REST, gRPC or local, sync or async.

    BM25 is encoded by the server; local mode has no encoder, so there it is done here.
    """

    name = "qdrant"

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        layout: Layout,
        bm25: Bm25,
        documents: Documents,
    ) -> None:
        self._client: Any = client
        self._layout = layout
        self._documents = documents
        self._local = is_local(client)
        self._where = _where(client)
        self._encode_query: requests.Encoder = bm25.query if self._local else bm25.on_server
        self._encode_document: requests.Encoder = bm25.document if self._local else bm25.on_server

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        """One request: the fused query, with both branches beside it where evidence is asked."""
        projection = requests.project(search.native.get("with_payload"), self._documents.paths)
        native = {
            **search.native,
            "with_payload": projection.selector,
            "timeout": requests.timeout(deadline.remaining()),
        }
        if self._local:
            native.pop("timeout")
        parts = (_with_native(search, native), vector, self._layout, self._encode_query)
        if search.mode != "hybrid":
            response = yield self._query(requests.query(*parts), deadline)
            return FirstPass(response, "none", forced=projection.forced)
        if not requests.fused_by_database(search.fusion):
            threshold = native.get("score_threshold")  # tests fused scores, not a branch's
            alone = {**native, "score_threshold": None}
            parts = (_with_native(search, alone), vector, self._layout, self._encode_query)
            both = [requests.branch(name, *parts, search.depth) for name in ("bm25", "dense")]
            branches = yield self._batch(both, deadline)
            fused = responses.fuse(branches, search.fusion, search.k, threshold)
            return FirstPass(fused, "client", responses.evidence(branches), projection.forced)
        fused_query = requests.query(*parts)
        if not search.evidence:
            response = yield self._query(fused_query, deadline)
            return FirstPass(response, "database", forced=projection.forced)
        response, *branches = yield self._batch([fused_query, *requests.evidence(*parts)], deadline)
        return FirstPass(response, "database", responses.evidence(branches), projection.forced)

    def _query(self, request: dict[str, Any], deadline: Deadline) -> Call:
        return Call(lambda: self._client.query_points(**request), deadline.remaining())

    def _batch(self, several: Sequence[dict[str, Any]], deadline: Deadline) -> Call:
        request = requests.batch(several)
        return Call(lambda: self._client.query_batch_points(**request), deadline.remaining())

    def candidates(
        self, first: FirstPass[models.QueryResponse], documents: Documents
    ) -> Sequence[Candidate]:
        """The response's points as candidates."""
        return responses.candidates(first, documents)

    def rebuild(
        self, first: FirstPass[models.QueryResponse], ranking: Ranking
    ) -> models.QueryResponse:
        """The response with the ranking's points."""
        return responses.rebuild(first, ranking)

    def describe_error(self, error: Exception) -> str:
        """One line for a foreign error."""
        return errors.describe(error, self._where)

    def create(self, dimension: int) -> Flow[bool]:
        """Create the collection if it is missing."""
        return ingest.create(self._client, self._layout, dimension)

    def writer(self) -> ingest.QdrantWriter:
        """How documents are written."""
        return ingest.QdrantWriter(self._client, self._layout, self._encode_document, self._where)

    def check(self, dimension: int | None) -> Flow[list[Finding]]:
        """Connection, version and collection."""
        findings: list[Finding] = []
        try:
            if not self._local:
                info = yield Call(self._client.info)
                findings.append(_version(info.version, self._where))
            exists = yield Call(lambda: self._client.collection_exists(self._layout.collection))
        except Exception as error:
            fix = "start it, or correct backend.url and backend.api_key"
            return [*findings, Finding("connection", False, self.describe_error(error), fix)]
        findings.append(Finding("connection", True, self._where))
        subject = f"collection {self._layout.collection!r}"
        if not exists:
            fix = "fill it with `vecdb-rerank index FILE`, or correct backend.collection"
            return [*findings, Finding(subject, False, "is missing", fix)]
        info = yield Call(lambda: self._client.get_collection(self._layout.collection))
        problems = ingest.misfits(info, self._layout, dimension)
        if problems:
            fix = "correct backend.dense_vector / backend.bm25_vector, or index it anew"
            return [*findings, Finding(subject, False, "; ".join(problems), fix)]
        return [*findings, Finding(subject, True, f"{info.points_count} points")]

    def delete(self) -> Flow[None]:
        """Delete the collection."""
        yield Call(lambda: self._client.delete_collection(self._layout.collection))

    def refresh(self) -> Flow[None]:
        """Nothing to do: writes are waited for."""
        yield from ()

    def close(self) -> Any:
        """Close the client."""
        return self._client.close()


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
        bm25: BM25's parameters, used at ingest.
        reranker: scores the hits; by default the bundled cross-encoder; None for none.
        embedder: embeds queries and documents; by default the bundled one; None for none.
        documents: which payload fields are a document's text.
        policy: deadline, failures, minimum relevance.
        defaults: k, limit, mode, depth and fusion where a call does not say.

    """

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        collection: str,
        *,
        dense_vector: str | None = "dense",
        bm25_vector: str = "bm25",
        bm25: Bm25 | None = None,
        reranker: Reranker | Bundled | None = "bundled",
        embedder: Embedder | Bundled | None = "bundled",
        documents: Documents | None = None,
        policy: Policy | None = None,
        defaults: SearchDefaults | None = None,
    ) -> None:
        documents = documents or Documents()
        layout = Layout(collection, dense_vector, bm25_vector)
        super().__init__(
            QdrantStore(client, layout, bm25 or Bm25(), documents),
            reranker=reranker,
            embedder=embedder,
            documents=documents,
            policy=policy,
            defaults=defaults,
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
        filter: models.Filter | None = None,
        query_vector: Vector | None = None,
        depth: int | None = None,
        fusion: Fusion | None = None,
        rerank: bool = True,
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
            filter: a Qdrant filter, applied in every branch.
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


for _connector in (QdrantConnector, AsyncQdrantConnector):
    _connector.__doc__ = f"{_connector.__doc__}\n\n{_Qdrant.__doc__}"


def is_local(client: QdrantClient | AsyncQdrantClient) -> bool:
    """Whether the client is Qdrant's local mode, in memory or on disk."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def _where(client: QdrantClient | AsyncQdrantClient) -> str:
    options = client.init_options
    given = [options.get(name) for name in ("url", "path", "location", "host")]
    where = str(next((g for g in given if g is not None), "localhost"))
    return re.sub(r"(?<=//)[^/@]*@", "", where)  # a URL's user and password are nobody's business


def _with_native(search: Search, native: dict[str, Any]) -> Search:
    from dataclasses import replace

    return replace(search, native=native)


def _version(version: str, where: str) -> Finding:
    major, minor, *_ = (int(part) for part in version.split("-")[0].split("."))
    ok = (major, minor) >= (1, 15)
    fix = "" if ok else "upgrade: BM25 is encoded by servers from 1.15.3 on"
    return Finding("version", ok, f"Qdrant {version} at {where}", fix)
