"""Embedding as part of a flow, whether an embedder yields its I/O or blocks."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.protocols import Embedder, FlowEmbedder, Vector


def query_vector(embedder: Embedder, text: str, deadline: Deadline) -> Flow[Vector]:
    """Return the vector of a query; raise `TimeoutError` at the deadline."""
    if isinstance(embedder, FlowEmbedder):
        return (yield from embedder.query_steps(text, deadline=deadline))
    vector: Vector = yield Compute(lambda: embedder.embed_query(text), deadline.remaining())
    return vector


def document_vectors(
    embedder: Embedder, texts: Sequence[str], deadline: Deadline
) -> Flow[Sequence[Vector | None]]:
    """Return the vectors of documents; None for a text that a service refused.

    ``deadline`` bounds the retries of a service; a local model is not interrupted.
    """
    if isinstance(embedder, FlowEmbedder):
        return (yield from embedder.document_steps(texts, deadline=deadline))
    vectors: Sequence[Vector] = yield Compute(lambda: embedder.embed_documents(texts))
    return vectors


def closing(embedder: Embedder | None) -> Flow[None]:
    """Close the connections of ``embedder``, if it has any, or of the one that it wraps."""
    if (close := getattr(embedder, "closing", None)) is not None:
        yield from close()
