"""Use a plain function as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from vecdb_rerank._checks import integer, is_callable
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector


class FunctionEmbedder:
    """Embeds with a function from n texts to n vectors, shape (n, dimension).

    Args:
        documents: embeds documents.
        query: embeds queries, for models that treat them differently; ``documents`` by default.
        dimension: the length of every vector; found by embedding one word if not given.
        name: a short name for logs and caches.

    Raises `ConfigurationError` if a function returns another number of vectors.

    """

    def __init__(
        self,
        documents: Callable[[list[str]], Sequence[Vector]],
        *,
        query: Callable[[list[str]], Sequence[Vector]] | None = None,
        dimension: int | None = None,
        name: str = "function",
    ) -> None:
        is_callable("documents", documents)
        if query is not None:
            is_callable("query", query)
        self.name = name
        self._documents = documents
        self._query = query or documents
        self._dimension = None if dimension is None else integer("dimension", dimension, 1)

    @cached_property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._dimension or len(self.embed_documents(["dimension"])[0])

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, shape (dimension,)."""
        return _embed(self._query, [text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of documents, shape (len(texts), dimension)."""
        return _embed(self._documents, list(texts))


def _embed(function: Callable[[list[str]], Sequence[Vector]], texts: list[str]) -> list[Vector]:
    vectors: list[Vector] = [[float(x) for x in vector] for vector in function(texts)]
    if len(vectors) != len(texts):
        raise ConfigurationError(
            "embedder", f"the function returned {len(vectors)} vectors for {len(texts)} texts"
        )
    return vectors
