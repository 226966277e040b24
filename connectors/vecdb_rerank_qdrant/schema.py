"""Create a collection for hybrid search, and check one that exists."""

from __future__ import annotations

from collections.abc import Mapping

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Mode
from vecdb_rerank.search import misfit
from vecdb_rerank.search.misfit import OTHER_EMBEDDER, Misfit, instead
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import errors, text_index
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.bm25_language import other_language
from vecdb_rerank_qdrant.client import Client
from vecdb_rerank_qdrant.layout import Layout

LESS_IS_BETTER = (models.Distance.EUCLID, models.Distance.MANHATTAN)


def create(
    client: Client,
    layout: Layout,
    dimension: int | None,
    mode: Mode,
    bm25: Bm25,
    text_fields: TextFields,
) -> Flow[bool]:
    """Create the collection if it is missing; return whether this call did.

    Without a ``dimension`` it has no dense vector. Raises `SchemaError` if there is a collection
    that lacks what ``mode`` needs.
    """
    exists: bool = yield Call(lambda: client.collection_exists(layout.collection))
    if not exists:
        try:
            yield Call(lambda: _create(client, layout, dimension))
            if layout.text_index is not None:
                yield from text_index.create(
                    client, layout.collection, layout.text_index, bm25.language
                )
        except Exception as error:
            if not errors.already_exists(error):  # created by another process in the meantime
                raise
        else:
            return True
    info: models.CollectionInfo = yield Call(lambda: client.get_collection(layout.collection))
    problems = misfits(info, layout, dimension, mode)
    if not problems and mode != "dense":
        problems = yield from language_misfits(client, layout, bm25, text_fields)
    if problems:
        raise misfit.error(layout.subject, problems)
    return False


def _create(client: Client, layout: Layout, dimension: int | None) -> object:
    dense: models.VectorParams | dict[str, models.VectorParams] = {}
    if dimension is not None and "dense" in layout.branches:
        params = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        dense = params if layout.dense_vector is None else {layout.dense_vector: params}
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    sparse = {} if layout.bm25_vector is None else {layout.bm25_vector: idf}
    return client.create_collection(
        layout.collection, vectors_config=dense, sparse_vectors_config=sparse
    )


def require_vectors(client: Client, layout: Layout, mode: Mode) -> Flow[frozenset[str]]:
    """Return the names of the collection's vectors.

    Raises `SchemaError` if one that ``mode`` needs is missing.
    """
    info: models.CollectionInfo = yield Call(lambda: client.get_collection(layout.collection))
    if problems := misfits(info, layout, None, mode):
        raise misfit.error(layout.subject, problems)
    return frozenset({*dense_vectors(info), *sparse_vectors(info)})


def misfits(
    info: models.CollectionInfo, layout: Layout, dimension: int | None, mode: Mode = "hybrid"
) -> list[Misfit]:
    """Return what ``mode`` needs and the collection lacks; a text index is not looked at."""
    problems: list[Misfit] = []
    if mode != "bm25":
        problems += _dense_misfits(dense_vectors(info), layout.dense_name, dimension)
    if mode != "dense" and layout.bm25_vector is not None:
        problems += _bm25_misfits(sparse_vectors(info), layout.bm25_vector)
    return problems


def language_misfits(
    client: Client, layout: Layout, bm25: Bm25, text_fields: TextFields
) -> Flow[list[Misfit]]:
    """Return the misfit of BM25 vectors that hold another language's stems, if they do."""
    vector = layout.bm25_vector
    if vector is None:
        return []
    found = yield from other_language(client, layout.collection, vector, bm25, text_fields)
    if found is None:
        return []
    detail = f"{vector!r} was made of {found} texts, language is {bm25.language!r}"
    fix = f'set backend.language = "{found}"; or, {misfit.read_as(bm25.language)}'
    return [Misfit(detail, fix)]


def dense_vectors(info: models.CollectionInfo) -> Mapping[str, models.VectorParams]:
    """Return the dense vectors by name; the unnamed one is the empty string."""
    vectors = info.config.params.vectors
    if isinstance(vectors, models.VectorParams):
        return {"": vectors}
    return vectors or {}


def sparse_vectors(info: models.CollectionInfo) -> Mapping[str, models.SparseVectorParams]:
    """Return the sparse vectors by name."""
    return info.config.params.sparse_vectors or {}


def _dense_misfits(
    vectors: Mapping[str, models.VectorParams], name: str, dimension: int | None
) -> list[Misfit]:
    if name not in vectors:
        lacking = f"has no dense vector {_shown(name)} (it has: {_names(vectors)})"
        return [Misfit(lacking, instead("dense_vector", list(vectors)))]
    params = vectors[name]
    if params.distance in LESS_IS_BETTER:
        wrong = f"vector {_shown(name)} has distance {params.distance.value}, where less is better"
        return [Misfit(wrong, "use a vector with cosine or dot product")]
    if dimension is not None and params.size != dimension:
        wrong = (
            f"vector {_shown(name)} has {params.size} dimensions, the embedder makes {dimension}"
        )
        return [Misfit(wrong, OTHER_EMBEDDER)]
    return []


def _bm25_misfits(sparse: Mapping[str, models.SparseVectorParams], name: str) -> list[Misfit]:
    if name not in sparse:
        lacking = f"has no sparse vector {name!r} (it has: {_names(sparse)})"
        with_idf = [n for n, params in sparse.items() if params.modifier == models.Modifier.IDF]
        return [Misfit(lacking, instead("bm25_vector", with_idf))]
    if sparse[name].modifier != models.Modifier.IDF:
        wrong = f"sparse vector {name!r} lacks modifier=idf, which BM25 needs"
        return [Misfit(wrong, instead("bm25_vector", []))]
    return []


def _shown(name: str) -> str:
    return repr(name) if name else "without a name"


def _names(vectors: Mapping[str, object]) -> str:
    return ", ".join(repr(name) if name else "one without a name" for name in vectors) or "none"
