"""Write documents as points."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.ingest.model import Cause, Document, WriteResult, plain_id, stable_uuid
from vecdb_rerank.model import DOC_ID, HitId
from vecdb_rerank.protocols import Vector
from vecdb_rerank.request import Mode
from vecdb_rerank_qdrant import errors, schema
from vecdb_rerank_qdrant.client import Client
from vecdb_rerank_qdrant.layout import Layout

ShardKey = int | str


@dataclass(slots=True)
class QdrantWriter:
    """Writes points; Qdrant accepts or refuses a batch as a whole.

    ``mode`` decides which vectors are required; of the others, those that the collection has are
    written too. ``shard_key`` names the shard of a collection with custom sharding.
    """

    client: Client
    layout: Layout
    encode: Callable[[str], models.SparseVector]
    describe: Callable[[Exception], str]
    mode: Mode = "hybrid"
    shard_key: ShardKey | None = None
    _held: frozenset[str] | None = None  # the collection's vectors, once known

    def item(self, document: Document, text: str, vector: Vector | None) -> models.PointStruct:
        """Return the document as a point.

        Raises ValueError if the mode needs a vector and there is none.
        """
        given = plain_id(document.id, "id")
        point_id = native_id(given)
        payload = dict(document.payload)
        if point_id != given:
            # Qdrant reads integers beyond 64 bits as floats.
            is_large = isinstance(given, int) and not -(2**63) <= given < 2**63
            payload[DOC_ID] = str(given) if is_large else given
        vectors: dict[str, models.Vector] = {}
        if vector is not None:
            vectors[self.layout.dense_name] = [float(x) for x in vector]
        elif self.mode != "bm25":
            raise ValueError("it has no vector and no embedder is configured")
        if self.layout.bm25_vector is not None:
            bm25 = self.encode(text)
            if bm25.indices:
                vectors[self.layout.bm25_vector] = bm25
        return models.PointStruct(id=point_id, vector=vectors, payload=payload)

    def write(self, items: Sequence[models.PointStruct]) -> Flow[WriteResult]:
        """Upsert the points and wait until they are stored.

        Raises `SchemaError` if the collection lacks a vector that the mode needs.
        """
        if self._held is None:
            self._held = yield from schema.require_vectors(self.client, self.layout, self.mode)
        points = [_with_vectors(item, self._held) for item in items]
        yield Call(
            lambda: self.client.upsert(
                self.layout.collection, points, wait=True, shard_key_selector=self.shard_key
            )
        )
        return WriteResult()

    def stored(self, items: Sequence[models.PointStruct]) -> Flow[set[int]]:
        """Return the indices of the points that the collection holds with the same payload."""
        points: list[models.Record] = yield Call(
            lambda: self.client.retrieve(
                self.layout.collection,
                [item.id for item in items],
                with_payload=True,
                shard_key_selector=self.shard_key,
            )
        )
        held = {point.id: _json(point.payload) for point in points}
        return {n for n, item in enumerate(items) if held.get(item.id) == _json(item.payload)}

    def cause(self, error: Exception) -> Cause:
        """Classify an error of `write`."""
        return errors.cause(error)

    def describe_error(self, error: Exception) -> str:
        """Return one line for an error."""
        return self.describe(error)


def _with_vectors(point: models.PointStruct, held: frozenset[str]) -> models.PointStruct:
    """Return the point with only those of its vectors that the collection has."""
    assert isinstance(point.vector, dict)
    if held.issuperset(point.vector):
        return point
    kept = {name: vector for name, vector in point.vector.items() if name in held}
    return point.model_copy(update={"vector": kept})


def native_id(doc_id: HitId) -> HitId:
    """Return the id as Qdrant takes it: an unsigned 64-bit integer or a UUID.

    Equal strings, and no others, give equal ids: ``7`` and ``"7"`` are the same document, as they
    are in OpenSearch, and two spellings of one UUID are two.
    """
    text = str(doc_id)
    if _is_number(text):
        return int(text)
    return text if _is_uuid(text) else stable_uuid(text)


def _is_number(text: str) -> bool:
    """Check whether ``text`` is how Python writes an unsigned 64-bit integer."""
    plain = text.isascii() and text.isdigit() and len(text) <= 20
    return plain and str(int(text)) == text and int(text) < 2**64


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _json(payload: Mapping[str, object] | None) -> str:
    return json.dumps(payload or {}, sort_keys=True, default=str)
