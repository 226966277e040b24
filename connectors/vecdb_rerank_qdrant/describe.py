"""Describe a collection that others made, by reading a little of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from qdrant_client.http import models

from vecdb_rerank.adopt.description import (
    BYTES,
    WITH_VECTORS,
    DenseVector,
    Description,
    Sample,
    SparseVector,
    next_batch,
)
from vecdb_rerank.adopt.fields import TextField, chosen, text_fields
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.ingest.language import detect_language
from vecdb_rerank.protocols import Vector
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import schema, text_index
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.bm25_language import language_of
from vecdb_rerank_qdrant.client import Client, is_local
from vecdb_rerank_qdrant.layout import Layout

_PROBED = 3  # fields that are asked for a text index
_BYTES_PER_NUMBER = 12  # of a vector in JSON


def collections(client: Client) -> Flow[list[str]]:
    """Return the names of all collections."""
    found: models.CollectionsResponse = yield Call(client.get_collections)
    return sorted(each.name for each in found.collections)


def describe(client: Client, layout: Layout) -> Flow[Description]:
    """Return what a search has to know about the collection."""
    name = layout.collection
    info: models.CollectionInfo = yield Call(lambda: client.get_collection(name))
    dense = [_dense(*vector) for vector in schema.dense_vectors(info).items()]
    sparse = schema.sparse_vectors(info)
    records = yield from _records(client, name, dense, list(sparse))
    payloads = [record.payload or {} for record in records]
    fields = text_fields(payloads)
    text_queries = yield from text_index.available(client)
    indexes: list[str] = []
    for field in fields[:_PROBED] if text_queries else ():
        problem = yield from text_index.problem(text_index.querying(client), name, field.path)
        indexes += [] if problem else [field.path]
    return Description(
        subject=layout.subject,
        documents=info.points_count or 0,
        dense=dense,
        sparse=[_sparse(each, params, records, fields) for each, params in sparse.items()],
        text_indexes=indexes,
        text_queries=text_queries,
        splits_all=not is_local(client),
        samples=[Sample(r.payload or {}, _vectors(r, dense)) for r in records],
    )


def _records(
    client: Client, collection: str, dense: Sequence[DenseVector], sparse: Sequence[str]
) -> Flow[list[models.Record]]:
    """Return the first points, as many as may be read; the first of them with vectors."""
    numbers = sum(vector.size or 0 for vector in dense if not vector.problem)
    names = [v.name for v in dense if not v.problem] + list(sparse)
    with_vectors = numbers * _BYTES_PER_NUMBER * (WITH_VECTORS + 1) < BYTES
    records: list[models.Record] = []
    offset: models.ExtendedPointId | None = None
    sizes: list[int] = []
    while (count := next_batch(sizes)) > 0:
        wanted: bool | list[str] = names if with_vectors and len(records) < WITH_VECTORS else False
        scroll = partial(
            client.scroll,
            collection,
            limit=count,
            offset=offset,
            with_payload=True,
            with_vectors=True if wanted and "" in names else wanted,
        )
        points: list[models.Record]
        points, offset = yield Call(scroll)
        records += points
        sizes += [len(point.model_dump_json(exclude={"vector"})) for point in points]
        if offset is None:
            break
    return records


def _dense(name: str, params: models.VectorParams) -> DenseVector:
    problem = ""
    if params.multivector_config is not None:
        problem = "several vectors per point (late interaction)"
    elif params.distance in schema.LESS_IS_BETTER:
        problem = f"distance {params.distance.value}, where less is better"
    return DenseVector(name, params.size, str(params.distance.value), problem)


def _sparse(
    name: str,
    params: models.SparseVectorParams,
    records: Sequence[models.Record],
    fields: Sequence[TextField],
) -> SparseVector:
    """Return the vector with the language of its terms, if those are of the text."""
    idf = params.modifier == models.Modifier.IDF
    for paths in {tuple(field.path for field in fields[:1]), chosen(fields)} if idf else ():
        held = [
            (TextFields(paths).text(record.payload), frozenset(vector.indices))
            for record in records
            if paths
            and isinstance(record.vector, dict)
            and isinstance(vector := record.vector.get(name), models.SparseVector)
        ]
        expected = detect_language(text for text, _ in held) or "english"
        if language := language_of(held, Bm25(language=expected)):
            return SparseVector(name, idf, language)
    return SparseVector(name, idf)


def _vectors(record: models.Record, dense: Sequence[DenseVector]) -> Mapping[str, Vector]:
    given = record.vector
    named = given if isinstance(given, dict) else {"": given}
    found = {vector.name: named.get(vector.name) for vector in dense if not vector.problem}
    return {name: cast("Vector", value) for name, value in found.items() if value is not None}
