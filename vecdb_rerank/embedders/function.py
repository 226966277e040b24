"""A plain function as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector


class FunctionEmbedder:
    """Embeds with a function from texts to vectors, shape (n,) to (n, dimension).

    ``query`` is an own function for queries, for models that treat them differently. Raises
    `ConfigurationError` where the function answers with another number of vectors.
    """

    def __init__(
        self,
        documents: Callable[[list[str]], Sequence[Vector]],
        *,
        query: Callable[[list[str]], Sequence[Vector]] | None = None,
        dimension: int | None = None,
        name: str = "function",
    ) -> None:
        self.name = name
        self._documents = documents
        self._query = query or documents
        self._dimension = dimension

    @cached_property
    def dimension(self) -> int:
        """The length of every vector; found out by embedding one word where not given."""
        return self._dimension or len(self.embed_documents(["dimension"])[0])

    def embed_query(self, text: str) -> Vector:
        """The vector of a query."""
        return _called(self._query, [text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """The vectors of documents."""
        return _called(self._documents, list(texts))


def _called(function: Callable[[list[str]], Sequence[Vector]], texts: list[str]) -> list[Vector]:
    vectors = [[float(x) for x in vector] for vector in function(texts)]
    if len(vectors) != len(texts):
        raise ConfigurationError(
            "embedder", f"the function gave {len(vectors)} vectors for {len(texts)} texts"
        )
    return list(vectors)
