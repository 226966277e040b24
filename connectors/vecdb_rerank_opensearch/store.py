"""One OpenSearch database as the pipeline sees it: requests, calls, responses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.request import BRANCHES, Search
from vecdb_rerank.search.store import Finding, Store
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import errors, queries, responses, schema, source_selection, writer
from vecdb_rerank_opensearch.layout import Layout
from vecdb_rerank_opensearch.queries import URL_PARAMS, Body
from vecdb_rerank_opensearch.responses import OpenSearchHits, Response

log: logging.Logger = logging.getLogger("vecdb_rerank")


class OpenSearchStore(OpenSearchHits, Store[Response]):
    """One OpenSearch index (alias, pattern) behind a sync or async client.

    Hybrid queries need the server's neural-search plugin, RRF its version 2.19; without them both
    branches are sent in one ``_msearch`` and fused here. Which of the two it is, is found out once.
    """

    def __init__(
        self, client: OpenSearch | AsyncOpenSearch, layout: Layout, text_fields: TextFields
    ) -> None:
        self._client: Any = client
        self._layout = layout
        self._text_fields = text_fields
        self._where = where(client)
        self._fuses_hybrid = True  # until the server says otherwise
        self._knows_bm25 = False  # until a hit, or the mapping, shows that the fields are there

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        """One request: the fused query, with both branches beside it where evidence is asked."""
        first = yield from self._asked(search, vector, deadline)
        if search.mode != "dense" and not self._knows_bm25:
            yield from self._require_bm25_fields(first, deadline)
        return first

    def _require_bm25_fields(self, first: FirstPass[Response], deadline: Deadline) -> Flow[None]:
        """`SchemaError` where the index lacks the fields: the server just finds nothing there."""
        if not first.evidence.get("bm25"):
            index, params = self._layout.index, _timeout(deadline)
            mappings = yield Call(
                lambda: self._client.indices.get_mapping(index=index, params=params),
                deadline.remaining(),
            )
            if problems := schema.bm25_misfits(mappings, self._layout):
                raise SchemaError(f"index {index!r}: {'; '.join(problems)}: correct bm25_fields")
        self._knows_bm25 = True

    def _asked(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        params = {name: search.native[name] for name in URL_PARAMS if name in search.native}
        shape = {**search.native.get("body", {})}
        shape |= {n: v for n, v in search.native.items() if n not in (*URL_PARAMS, "body")}
        projection = source_selection.project(shape, self._text_fields.paths, self._layout)
        shape |= projection.parts
        first = yield from self._shaped(search, vector, shape, params, deadline)
        return replace(first, injected_fields=projection.injected_fields)

    def _shaped(
        self,
        search: Search,
        vector: Vector | None,
        shape: Mapping[str, Any],
        params: Mapping[str, Any],
        deadline: Deadline,
    ) -> Flow[FirstPass[Response]]:
        if search.mode != "hybrid":
            body = queries.body(search, vector, self._layout, shape)
            response = yield self._search(body, params, deadline)
            return FirstPass(response, "none", responses.evidence({search.mode: response}))
        if queries.fused_by_database(search.fusion) and self._fuses_hybrid:
            try:
                return (yield from self._fused(search, vector, shape, params, deadline))
            except Exception as error:
                if not errors.cannot_fuse(error):
                    raise
                self._fuses_hybrid = False
                log.warning(
                    "OpenSearch at %s cannot fuse a hybrid search (%s): fused here from now on",
                    self._where,
                    errors.reason(error),
                )
        return (yield from self._fused_here(search, vector, shape, params, deadline))

    def _fused_here(
        self,
        search: Search,
        vector: Vector | None,
        shape: Mapping[str, Any],
        params: Mapping[str, Any],
        deadline: Deadline,
    ) -> Flow[FirstPass[Response]]:
        """Both branches, and their union where facets are asked for, which neither of them has."""
        plain, facets = queries.without_facets(shape)
        bodies = [self._branch(name, search, vector, plain) for name in BRANCHES]
        if facets:
            bodies.append(queries.union_body(search, vector, self._layout, shape))
        bm25, dense, *union = yield from self._msearch(bodies, params, deadline)
        branches = {"bm25": bm25, "dense": dense}
        fused = responses.fuse(branches, search.fusion, search.k, *union)
        return FirstPass(fused, "client", responses.evidence(branches))

    def _fused(
        self,
        search: Search,
        vector: Vector | None,
        shape: Mapping[str, Any],
        params: Mapping[str, Any],
        deadline: Deadline,
    ) -> Flow[FirstPass[Response]]:
        body = queries.body(search, vector, self._layout, shape)
        if not search.evidence:
            response = yield self._search(body, params, deadline)
            return FirstPass(response, "database")
        bare: Body = {"_source": False}
        bodies = [body, *(self._branch(name, search, vector, bare) for name in BRANCHES)]
        response, *both = yield from self._msearch(bodies, params, deadline)
        branches = dict(zip(BRANCHES, both, strict=True))
        return FirstPass(response, "database", responses.evidence(branches))

    def _branch(
        self, name: str, search: Search, vector: Vector | None, shape: Mapping[str, Any]
    ) -> Body:
        return queries.branch_body(name, search, vector, self._layout, shape)

    def _search(self, body: Body, params: Mapping[str, Any], deadline: Deadline) -> Call:
        given = {**params, **_timeout(deadline)}
        return Call(
            lambda: self._client.search(body=body, index=self._layout.index, params=given),
            deadline.remaining(),
        )

    def _msearch(
        self, bodies: Sequence[Body], params: Mapping[str, Any], deadline: Deadline
    ) -> Flow[list[Response]]:
        lines = queries.msearch(self._layout, params, bodies)
        answer = yield Call(
            lambda: self._client.msearch(body=lines, params=_timeout(deadline)),
            deadline.remaining(),
        )
        return errors.responses(answer)

    def describe_error(self, error: Exception) -> str:
        """One line for a foreign error."""
        return errors.describe(error, self._where)

    def create(self, dimension: int) -> Flow[bool]:
        """Create the index if it is missing."""
        return schema.create(self._client, self._layout, dimension)

    def writer(self) -> writer.OpenSearchWriter:
        """How documents are written."""
        return writer.OpenSearchWriter(self._client, self._layout, self._where)

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
        findings += _plugin_findings({plugin["component"] for plugin in plugins}, version)
        subject = f"index {self._layout.index!r}"
        if not (yield Call(lambda: self._client.indices.exists(index=self._layout.index))):
            fix = "fill it with `vecdb-rerank index FILE`, or correct backend.collection"
            return [*findings, Finding(subject, False, "is missing", fix)]
        mappings = yield Call(lambda: self._client.indices.get_mapping(index=self._layout.index))
        if problems := schema.misfits(mappings, self._layout, dimension):
            fix = "correct backend.dense_vector, bm25_fields or language, or index it anew"
            return [*findings, Finding(subject, False, "; ".join(problems), fix)]
        count = yield Call(lambda: self._client.count(index=self._layout.index))
        return [*findings, Finding(subject, True, f"{count['count']} documents")]

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, Any]]]:
        """The sources of the first documents, as a search shows them."""
        shown = source_selection.project({}, self._text_fields.paths, self._layout).parts
        body = {"size": count, **shown}
        answer = yield Call(lambda: self._client.search(body=body, index=self._layout.index))
        return [hit.get("_source", {}) for hit in answer["hits"]["hits"]]

    def delete(self) -> Flow[None]:
        """Delete the index."""
        yield Call(lambda: self._client.indices.delete(index=self._layout.index))

    def refresh(self) -> Flow[None]:
        """Refresh the index: documents are not searchable before."""
        yield Call(lambda: self._client.indices.refresh(index=self._layout.index))

    def close(self) -> Any:
        """Close the client."""
        return self._client.close()


def _timeout(deadline: Deadline) -> dict[str, float]:
    """The time left as the socket's timeout; at least a moment, so that it is never 'none'."""
    remaining = deadline.remaining()
    return {} if remaining == float("inf") else {"request_timeout": max(remaining, 0.001)}


def where(client: OpenSearch | AsyncOpenSearch) -> str:
    """The URL of a client's first host, without its credentials."""
    hosts = getattr(client.transport, "hosts", None) or [{"host": "localhost"}]
    host = hosts[0]
    scheme = "https" if host.get("use_ssl") or host.get("scheme") == "https" else "http"
    return f"{scheme}://{host.get('host', 'localhost')}:{host.get('port', 9200)}"


def _plugin_findings(installed: set[str], version: str) -> list[Finding]:
    knn = "opensearch-knn" in installed
    return [
        Finding("plugin k-NN", knn, "there" if knn else "missing", "" if knn else "install it"),
        Finding(
            "plugin neural-search",
            True,  # its absence costs nothing but a fusion here
            _fusing(installed, version),
        ),
    ]


def _fusing(installed: set[str], version: str) -> str:
    major, minor, *_ = (int(part) for part in version.split("-")[0].split("."))
    if installed.isdisjoint({"opensearch-neural-search", "neural-search"}):
        return "missing: hybrid searches are fused by the client"
    if (major, minor) < (2, 19):
        return "there, but without RRF before 2.19: hybrid searches are fused by the client"
    return "there"
