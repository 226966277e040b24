"""Create a collection fit for hybrid search, and check one that exists."""

from __future__ import annotations

from typing import Any

from qdrant_client.http import models

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import errors
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.bm25_language import language_misfits
from vecdb_rerank_qdrant.layout import Layout


def create(
    client: Any, layout: Layout, dimension: int, bm25: Bm25, text_fields: TextFields
) -> Flow[bool]:
    """Create the collection if it is missing; True if this call did."""
    if (yield Call(lambda: client.collection_exists(layout.collection))):
        yield from _require_fit(client, layout, dimension, bm25, text_fields)
        return False
    vectors = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
    name = layout.dense_vector
    try:
        yield Call(
            lambda: client.create_collection(
                layout.collection,
                vectors_config=vectors if name is None else {name: vectors},
                sparse_vectors_config={
                    layout.bm25_vector: models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
            )
        )
    except Exception as error:
        if not errors.already_exists(error):
            raise
        # somebody else was faster
        yield from _require_fit(client, layout, dimension, bm25, text_fields)
        return False
    return True


def _require_fit(
    client: Any, layout: Layout, dimension: int, bm25: Bm25, text_fields: TextFields
) -> Flow[None]:
    info = yield Call(lambda: client.get_collection(layout.collection))
    problems = misfits(info, layout, dimension)
    if problems := problems or (yield from language_misfits(client, layout, bm25, text_fields)):
        raise SchemaError(
            f"collection {layout.collection!r} does not fit: {'; '.join(problems)}. Use another "
            "collection name, or set backend.dense_vector / backend.bm25_vector / backend.language"
        )


def misfits(info: models.CollectionInfo, layout: Layout, dimension: int | None) -> list[str]:
    """What of an existing collection does not fit, one line each."""
    params = info.config.params
    return [
        *_dense_misfits(params.vectors, layout.dense_vector, dimension),
        *_bm25_misfits(params.sparse_vectors or {}, layout.bm25_vector),
    ]


def _dense_misfits(vectors: Any, name: str | None, dimension: int | None) -> list[str]:
    named = vectors if isinstance(vectors, dict) else {None: vectors} if vectors else {}
    if name not in named:
        held = ", ".join(repr(n) if n else "the unnamed one" for n in named) or "none"
        return [f"has no dense vector {name!r} (it has: {held})"]
    distance = named[name].distance
    if distance in (models.Distance.EUCLID, models.Distance.MANHATTAN):
        return [f"vector {name!r} has distance {distance.value}, where less is better"]
    size = named[name].size
    if dimension is not None and size != dimension:
        return [f"vector {name!r} has {size} dimensions, the embedder makes {dimension}"]
    return []


def _bm25_misfits(sparse: dict[str, models.SparseVectorParams], name: str) -> list[str]:
    if name not in sparse:
        return [f"has no sparse vector {name!r} (it has: {', '.join(sparse) or 'none'})"]
    if sparse[name].modifier != models.Modifier.IDF:
        return [f"sparse vector {name!r} lacks modifier=idf, which BM25 needs"]
    return []
