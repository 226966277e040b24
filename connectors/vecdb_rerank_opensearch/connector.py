"""The OpenSearch connectors, and the database as the pipeline sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Generic

from opensearchpy import AsyncOpenSearch, OpenSearch

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
from vecdb_rerank_opensearch import errors, ingest, requests, responses
from vecdb_rerank_opensearch.requests import BM25_TEXT, URL_PARAMS, Body, Layout
from vecdb_rerank_opensearch.responses import Response


class OpenSearchStore(Store[Response]):
    """One OpenSearch index (alias, pattern) behind a sync or async client.

    Hybrid queries need the server's neural-search plugin; without it both branches are sent in
    one ``_msearch`` and fused here. Which of the two it is, is found out once.
    """

    name = "opensearch"

    def __init__(
        self, client: OpenSearch | AsyncOpenSearch, layout: Layout, documents: Documents
    ) -> None:
        self._client: Any = client
        self._layout = layout
        self._documents = documents
        self._where = _where(client)
        self._fuses_hybrid = True  # until the server says otherwise

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        """One request: the fused query, with both branches beside it where evidence is asked."""
        params = {name: search.native[name] for name in URL_PARAMS if name in search.native}
        shape = {**search.native.get("body", {})}
        shape |= {n: v for n, v in search.native.items() if n not in (*URL_PARAMS, "body")}
        projection = requests.project(
            shape.get("_source"), shape.get("fields", ()), self._documents.paths, self._layout
        )
        shape |= projection.parts
        forced = projection.forced
        if search.mode != "hybrid":
            body = requests.body(search, vector, self._layout, shape)
            response = yield self._search(body, params, deadline)
            return FirstPass(response, "none", forced=forced)
        if requests.fused_by_database(search.fusion) and self._fuses_hybrid:
            try:
                first = yield from self._fused(search, vector, shape, params, deadline)
            except Exception as error:
                if not errors.lacks_hybrid(error):
                    raise
                self._fuses_hybrid = False
            else:
                return FirstPass(first.response, "database", first.evidence, forced)
        bodies = [self._branch(name, search, vector, shape) for name in ("bm25", "dense")]
        branches = yield from self._msearch(bodies, params, deadline)
        fused = responses.fuse(branches, search.fusion, search.k)
        return FirstPass(fused, "client", responses.evidence(branches), forced)

    def _fused(
        self,
        search: Search,
        vector: Vector | None,
        shape: Mapping[str, Any],
        params: Mapping[str, Any],
        deadline: Deadline,
    ) -> Flow[FirstPass[Response]]:
        body = requests.body(search, vector, self._layout, shape)
        if not search.evidence:
            response = yield self._search(body, params, deadline)
            return FirstPass(response)
        bare: Body = {"_source": False}
        branches = [self._branch(name, search, vector, bare) for name in ("bm25", "dense")]
        response, *both = yield from self._msearch([body, *branches], params, deadline)
        return FirstPass(response, evidence=responses.evidence(both))

    def _branch(
        self, name: str, search: Search, vector: Vector | None, shape: Mapping[str, Any]
    ) -> Body:
        if name == "dense":  # facets and highlights are the BM25 branch's, as its response is kept
            shape = {n: v for n, v in shape.items() if n not in ("aggs", "aggregations")}
        return requests.branch_body(name, search, vector, self._layout, shape)

    def _search(self, body: Body, params: Mapping[str, Any], deadline: Deadline) -> Call:
        given = {**params, **_timeout(deadline)}
        return Call(
            lambda: self._client.search(body=body, index=self._layout.index, params=given),
            deadline.remaining(),
        )

    def _msearch(
        self, bodies: Sequence[Body], params: Mapping[str, Any], deadline: Deadline
    ) -> Flow[list[Response]]:
        lines = requests.msearch(self._layout, params, bodies)
        answer = yield Call(
            lambda: self._client.msearch(body=lines, params=_timeout(deadline)),
            deadline.remaining(),
        )
        return errors.responses(answer)

    def candidates(self, first: FirstPass[Response], documents: Documents) -> Sequence[Candidate]:
        """The response's hits as candidates."""
        return responses.candidates(first, documents)

    def rebuild(self, first: FirstPass[Response], ranking: Ranking) -> Response:
        """The response with the ranking's hits."""
        return responses.rebuild(first, ranking)

    def describe_error(self, error: Exception) -> str:
        """One line for a foreign error."""
        return errors.describe(error, self._where)

    def create(self, dimension: int) -> Flow[bool]:
        """Create the index if it is missing."""
        return ingest.create(self._client, self._layout, dimension)

    def writer(self) -> ingest.OpenSearchWriter:
        """How documents are written."""
        return ingest.OpenSearchWriter(self._client, self._layout, self._where)

    def check(self, dimension: int | None) -> Flow[list[Finding]]:
        """Connection, version, plugins and index."""
        try:
            info = yield Call(self._client.info)
            plugins = yield Call(lambda: self._client.cat.plugins(params={"format": "json"}))
        except Exception as error:
            fix = "start it, or correct backend.url, backend.user and backend.password"
            return [Finding("connection", False, self.describe_error(error), fix)]
        version = info["version"]["number"]
        findings = [Finding("connection", True, f"OpenSearch {version} at {self._where}")]
        findings += _plugin_findings({plugin["component"] for plugin in plugins})
        subject = f"index {self._layout.index!r}"
        if not (yield Call(lambda: self._client.indices.exists(index=self._layout.index))):
            fix = "fill it with `vecdb-rerank index FILE`, or correct backend.collection"
            return [*findings, Finding(subject, False, "is missing", fix)]
        mappings = yield Call(lambda: self._client.indices.get_mapping(index=self._layout.index))
        if problems := ingest.misfits(mappings, self._layout, dimension):
            fix = "correct backend.dense_vector / backend.bm25_fields, or index it anew"
            return [*findings, Finding(subject, False, "; ".join(problems), fix)]
        count = yield Call(lambda: self._client.count(index=self._layout.index))
        return [*findings, Finding(subject, True, f"{count['count']} documents")]

    def delete(self) -> Flow[None]:
        """Delete the index."""
        yield Call(lambda: self._client.indices.delete(index=self._layout.index))

    def refresh(self) -> Flow[None]:
        """Refresh the index: documents are not searchable before."""
        yield Call(lambda: self._client.indices.refresh(index=self._layout.index))

    def close(self) -> Any:
        """Close the client."""
        return self._client.close()


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
        reranker: scores the hits; by default the bundled cross-encoder; None for none.
        embedder: embeds queries and documents; by default the bundled one; None for none.
        documents: which source fields are a document's text.
        policy: deadline, failures, minimum relevance.
        defaults: k, limit, mode, depth and fusion where a call does not say.

    """

    def __init__(
        self,
        client: OpenSearch | AsyncOpenSearch,
        index: str,
        *,
        dense_vector: str = "dense",
        bm25_fields: Sequence[str] = (BM25_TEXT,),
        reranker: Reranker | Bundled | None = "bundled",
        embedder: Embedder | Bundled | None = "bundled",
        documents: Documents | None = None,
        policy: Policy | None = None,
        defaults: SearchDefaults | None = None,
    ) -> None:
        documents = documents or Documents()
        layout = Layout(index, dense_vector, tuple(bm25_fields))
        super().__init__(
            OpenSearchStore(client, layout, documents),
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
        filter: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        query_vector: Vector | None = None,
        depth: int | None = None,
        fusion: Fusion | None = None,
        rerank: bool = True,
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
        requests.check_body(body or {})
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


for _connector in (OpenSearchConnector, AsyncOpenSearchConnector):
    _connector.__doc__ = f"{_connector.__doc__}\n\n{_OpenSearch.__doc__}"


def _timeout(deadline: Deadline) -> dict[str, float]:
    """The time left as the socket's timeout; at least a moment, so that it is never 'none'."""
    remaining = deadline.remaining()
    return {} if remaining == float("inf") else {"request_timeout": max(remaining, 0.001)}


def _where(client: OpenSearch | AsyncOpenSearch) -> str:
    hosts = getattr(client.transport, "hosts", None) or [{"host": "localhost"}]
    host = hosts[0]
    scheme = "https" if host.get("use_ssl") or host.get("scheme") == "https" else "http"
    return f"{scheme}://{host.get('host', 'localhost')}:{host.get('port', 9200)}"


def _plugin_findings(installed: set[str]) -> list[Finding]:
    knn = "opensearch-knn" in installed
    neural = "opensearch-neural-search" in installed or "neural-search" in installed
    return [
        Finding("plugin k-NN", knn, "there" if knn else "missing", "" if knn else "install it"),
        Finding(
            "plugin neural-search",
            True,  # its absence costs nothing but a fusion here
            "there" if neural else "missing: hybrid searches are fused by the client",
        ),
    ]
