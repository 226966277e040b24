"""One Qdrant database as the pipeline sees it: requests, calls, responses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.request import BRANCHES, Search
from vecdb_rerank.search.store import Finding, Store
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import errors, payload_selection, queries, responses, schema, writer
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.bm25_language import language_misfits
from vecdb_rerank_qdrant.layout import Layout


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
        text_fields: TextFields,
    ) -> None:
        self._client: Any = client
        self._layout = layout
        self._bm25 = bm25
        self._text_fields = text_fields
        self._local = is_local(client)
        self._over_grpc = is_grpc(client)
        self._where = _where(client)
        self._encode_query: queries.Encoder = bm25.query if self._local else bm25.on_server
        self._encode_document: queries.Encoder = bm25.document if self._local else bm25.on_server

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        """One request: the fused query, or both branches where they are wanted one by one.

        Branches tell what a fused list has lost, and their RRF is the server's own; so where
        evidence is asked for, they are all that is sent.
        """
        projection = payload_selection.project(
            search.native.get("with_payload"), self._text_fields.paths
        )
        native = {
            **search.native,
            "with_payload": projection.selector,
            "timeout": queries.timeout(deadline.remaining()),
        }
        if self._local:
            native.pop("timeout")
        parts = (replace(search, native=native), vector, self._layout, self._encode_query)
        if search.mode == "hybrid" and queries.fused_here(search.fusion, search.evidence):
            first = yield from self._branches(search, native, vector, deadline)
        else:
            response = yield self._query(queries.query(*parts), deadline)
            if search.mode == "dense":
                responses.require_similarity(response, self._where)
            first = responses.first_pass(search.mode, response)
        return replace(first, injected_fields=projection)

    def _branches(
        self, search: Search, native: dict[str, Any], vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        threshold = native.get("score_threshold")  # tests fused scores, not a branch's
        alone = replace(search, native={**native, "score_threshold": None})
        parts = (alone, vector, self._layout, self._encode_query)
        request = queries.batch([queries.branch(name, *parts, search.depth) for name in BRANCHES])
        answers = yield Call(
            lambda: self._client.query_batch_points(**request), deadline.remaining()
        )
        branches = dict(zip(BRANCHES, answers, strict=True))
        responses.require_similarity(branches["dense"], self._where)
        fused = responses.fuse(branches, search.fusion, search.k, threshold)
        return FirstPass(fused, "client", responses.evidence(branches))

    def _query(self, request: dict[str, Any], deadline: Deadline) -> Call:
        return Call(lambda: self._client.query_points(**request), deadline.remaining())

    def candidates(
        self, first: FirstPass[models.QueryResponse], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """The response's points as candidates."""
        return responses.candidates(first, text_fields)

    def rebuild(
        self, first: FirstPass[models.QueryResponse], ranking: Ranking
    ) -> models.QueryResponse:
        """The response with the ranking's points."""
        return responses.rebuild(first, ranking, self._over_grpc)

    def describe_error(self, error: Exception) -> str:
        """One line for a foreign error."""
        return errors.describe(error, self._where)

    def create(self, dimension: int) -> Flow[bool]:
        """Create the collection if it is missing."""
        return schema.create(self._client, self._layout, dimension, self._bm25, self._text_fields)

    def writer(self) -> writer.QdrantWriter:
        """How documents are written."""
        return writer.QdrantWriter(self._client, self._layout, self._encode_document, self._where)

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
        problems = schema.misfits(info, self._layout, dimension) or (
            yield from language_misfits(self._client, self._layout, self._bm25, self._text_fields)
        )
        if problems:
            fix = "correct backend.dense_vector, bm25_vector or language, or index it anew"
            return [*findings, Finding(subject, False, "; ".join(problems), fix)]
        return [*findings, Finding(subject, True, f"{info.points_count} points")]

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, Any]]]:
        """The payloads of the first points."""
        points, _ = yield Call(lambda: self._client.scroll(self._layout.collection, limit=count))
        return [point.payload or {} for point in points]

    def delete(self) -> Flow[None]:
        """Delete the collection."""
        yield Call(lambda: self._client.delete_collection(self._layout.collection))

    def refresh(self) -> Flow[None]:
        """Nothing to do: writes are waited for."""
        yield from ()

    def close(self) -> Any:
        """Close the client."""
        return self._client.close()


def is_local(client: QdrantClient | AsyncQdrantClient) -> bool:
    """Whether the client is Qdrant's local mode, in memory or on disk."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def is_grpc(client: QdrantClient | AsyncQdrantClient) -> bool:
    """Whether the client speaks gRPC."""
    return bool(client.init_options.get("prefer_grpc")) and not is_local(client)


def _where(client: QdrantClient | AsyncQdrantClient) -> str:
    options = client.init_options
    given = [options.get(name) for name in ("url", "path", "location", "host")]
    where = str(next((g for g in given if g is not None), "localhost"))
    return re.sub(r"(?<=//)[^/@]*@", "", where)  # a URL's user and password are nobody's business


def _version(version: str, where: str) -> Finding:
    major, minor, *_ = (int(part) for part in version.split("-")[0].split("."))
    ok = (major, minor) >= (1, 15)
    fix = "" if ok else "upgrade: BM25 is encoded by servers from 1.15.3 on"
    return Finding("version", ok, f"Qdrant {version} at {where}", fix)
