"""Describe an index that others made, by reading a little of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from vecdb_rerank.adopt.description import (
    WITH_VECTORS,
    DenseVector,
    Description,
    Sample,
    next_batch,
)
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.text_fields import lookup
from vecdb_rerank_opensearch.client import Client
from vecdb_rerank_opensearch.layout import Layout, mapped_fields
from vecdb_rerank_opensearch.responses import Response


def collections(client: Client) -> Flow[list[str]]:
    """Return the names of all indices but the hidden ones."""
    found: Mapping[str, object] = yield Call(lambda: client.indices.get_alias(index="*"))
    return sorted(name for name in found if not name.startswith("."))


def describe(client: Client, layout: Layout) -> Flow[Description]:
    """Return what a search has to know about the index."""
    index = layout.index
    mappings: Mapping[str, Mapping[str, object]] = yield Call(
        lambda: client.indices.get_mapping(index=index)
    )
    found = mapped_fields(mappings)
    dense = [_dense(name, f) for name, f in found.items() if f.get("type") == "knn_vector"]
    count: Mapping[str, int] = yield Call(lambda: client.count(index=index))
    return Description(
        subject=layout.subject,
        documents=count["count"],
        dense=dense,
        analyzers={
            name: str(field.get("analyzer", "standard"))
            for name, field in found.items()
            if field.get("type") in ("text", "match_only_text")
        },
        samples=(yield from _samples(client, index, dense)),
    )


def _samples(client: Client, index: str, dense: Sequence[DenseVector]) -> Flow[list[Sample]]:
    """Return the first documents, as many as may be read; the first of them with vectors."""
    names = [vector.name for vector in dense]
    samples: list[Sample] = []
    sizes: list[int] = []
    while (size := next_batch(sizes)) > 0:
        body = {"size": size, "from": len(samples), "sort": ["_doc"]}
        if len(samples) >= WITH_VECTORS:
            body["_source"] = {"excludes": names}
        answer: Response = yield Call(partial(client.search, index=index, body=body))
        sources = [hit.get("_source", {}) for hit in answer["hits"]["hits"]]
        for source in sources:
            vectors = {name: v for name in names if isinstance(v := lookup(source, name), list)}
            payload = {name: value for name, value in source.items() if name not in names}
            samples.append(Sample(payload, vectors))
            sizes.append(len(json.dumps(payload, default=str)))
        if len(sources) < size:
            break
    return samples


def _dense(name: str, field: Mapping[str, object]) -> DenseVector:
    method = field.get("method")
    space = method.get("space_type") if isinstance(method, Mapping) else None
    size = field.get("dimension")
    metric = str(space or field.get("space_type") or "l2")
    return DenseVector(name, size if isinstance(size, int) else None, metric)
