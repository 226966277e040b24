"""Creating a collection fit for hybrid search, and writing documents to it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.ingest.model import Cause, Document, WriteResult, stable_uuid
from vecdb_rerank.model import DOC_ID, HitId
from vecdb_rerank.protocols import Vector
from vecdb_rerank_qdrant import errors
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.queries import Encoder


@dataclass(frozen=True, slots=True)
class QdrantWriter:
    """Writes points; Qdrant takes or refuses a batch as a whole."""

    client: Any
    layout: Layout
    encode: Encoder
    where: str

    def item(self, document: Document, text: str, vector: Vector | None) -> models.PointStruct:
        """The document as a point; foreign ids become UUIDs and are kept in the payload."""
        if vector is None:
            raise ValueError("it has no vector and no embedder is configured")
        point_id = native_id(document.id)
        payload = dict(document.payload)
        if point_id != document.id:
            payload[DOC_ID] = document.id
        bm25 = self.encode(text)
        vectors: dict[str, Any] = {self.layout.dense_vector or "": list(vector)}
        if not isinstance(bm25, models.SparseVector) or bm25.indices:
            vectors[self.layout.bm25_vector] = bm25
        return models.PointStruct(id=point_id, vector=vectors, payload=payload)

    def write(self, items: Sequence[models.PointStruct]) -> Flow[WriteResult]:
        """Upsert the points and wait until they are stored."""
        yield Call(lambda: self.client.upsert(self.layout.collection, list(items), wait=True))
        return WriteResult()

    def cause(self, error: Exception) -> Cause:
        """Whose fault an error is."""
        return errors.cause(error)

    def describe_error(self, error: Exception) -> str:
        """One line for an error."""
        return errors.describe(error, self.where)


def native_id(doc_id: HitId) -> HitId:
    """The id as Qdrant takes it: an unsigned integer or a UUID."""
    if isinstance(doc_id, int):
        return doc_id if 0 <= doc_id < 2**64 else stable_uuid(str(doc_id))
    try:
        return str(uuid.UUID(doc_id))
    except ValueError:
        return stable_uuid(doc_id)
