"""Check that queries are embedded as queries, and documents as documents.

If one is embedded as the other by a model that distinguishes them, searches find less, and nothing
fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from vecdb_rerank.adopt.embedders import LIKELY, agreement
from vecdb_rerank.flow.steps import Flow, compute
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.self_retrieval import self_retrieval
from vecdb_rerank.search.store import Finding, Store

R = TypeVar("R")
SUBJECT = "queries and documents"
_SAME = 0.9999  # cosine of two embeddings of one text that differ by rounding alone
_CLEAR = 0.005  # a difference in cosine that is more than rounding, such as of a stored float16
_BETTER = 0.1  # a difference in mean reciprocal rank that is more than chance
_PROBE = "How long do I boil an egg?"
_FIX = "correct query_kind or query_prefix, and document_kind or document_prefix, of the embedder"


@dataclass(frozen=True, slots=True)
class _Swapped:
    """An embedder that takes queries for documents, and documents for queries."""

    embedder: Embedder

    @property
    def dimension(self) -> int:
        return self.embedder.dimension

    def embed_query(self, text: str) -> Vector:
        return self.embedder.embed_documents([text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [self.embedder.embed_query(text) for text in texts]


def directions(
    pipeline: Pipeline, store: Store[R], vector: str, found: tuple[float, float] | None = None
) -> Flow[Finding | None]:
    """Compare both ways to embed a text with the stored vectors of stored texts.

    ``vector`` is the name of the dense vector, ``found`` what `self_retrieval` returned, if it was
    measured. Return None if the embedder makes no difference, or nothing can be compared.
    """
    embedder = pipeline.embedder
    if embedder is None or (yield from compute(lambda: _makes_no_difference(embedder))):
        return None
    described = yield from store.describe()
    samples, paths = described.samples, pipeline.text_fields.paths
    swapped = _Swapped(embedder)
    right = yield from compute(lambda: agreement(embedder, samples, vector, paths))
    wrong = yield from compute(lambda: agreement(swapped, samples, vector, paths))
    if right is None or wrong is None or max(right, wrong) < LIKELY:
        return None  # of another model, which other findings report
    cosines = f"cosine of stored vectors with documents {right:.3f}, with queries {wrong:.3f}"
    if wrong > right + _CLEAR:
        fix = f"{_FIX}, or add the documents again"
        return Finding(
            SUBJECT, "warning", f"the documents were embedded as queries: {cosines}", fix
        )
    if found is not None:
        other = yield from self_retrieval(replace(pipeline, embedder=swapped), store)
        if other is not None and other[1] > found[1] + _BETTER:
            ranks = f"mean reciprocal rank {other[1]:.2f} instead of {found[1]:.2f}"
            detail = f"queries that are embedded as documents find more: {ranks}"
            return Finding(SUBJECT, "warning", detail, _FIX)
    return Finding(SUBJECT, "ok", cosines)


def _makes_no_difference(embedder: Embedder) -> bool:
    query, document = embedder.embed_query(_PROBE), embedder.embed_documents([_PROBE])[0]
    dot = sum(a * b for a, b in zip(query, document, strict=True))
    return dot >= _SAME * math.hypot(*query) * math.hypot(*document)
