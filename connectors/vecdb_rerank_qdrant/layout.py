"""Where a collection keeps what is searched."""

from __future__ import annotations

from dataclasses import dataclass

from vecdb_rerank._checks import is_text, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import NONE, Branch

BM25_MODEL = "qdrant/bm25"
"""The name of the model with which a server encodes BM25."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a collection keeps its vectors; ``dense_vector`` None or empty is the unnamed one.

    BM25 searches either the sparse vector ``bm25_vector`` or the payload field ``text_index``,
    which has a text index with scoring. ``"none"`` as a vector's name, and None for
    ``bm25_vector``, mean that there is none. Raises `ConfigurationError` if nothing is left to
    search, or both forms of BM25 are named.
    """

    collection: str
    dense_vector: str | None = "dense"
    bm25_vector: str | None = "bm25"
    text_index: str | None = None

    def __post_init__(self) -> None:
        is_text("collection", self.collection, "the name of a collection")
        if self.dense_vector is not None and not isinstance(self.dense_vector, str):
            raise ConfigurationError(
                "dense_vector",
                f"must be a name, or None for the unnamed one, got {shown(self.dense_vector)}",
            )
        if self.bm25_vector is not None:
            is_text("bm25_vector", self.bm25_vector, "the name of a sparse vector, or None")
        if self.text_index is not None and not isinstance(self.text_index, str):
            is_text("text_index", self.text_index, "the name of a field, or None")
        if self.dense_vector == "":  # its name on the wire, and all that TOML can say
            object.__setattr__(self, "dense_vector", None)
        if self.text_index == "":
            object.__setattr__(self, "text_index", None)
        if self.text_index is not None and self.bm25_vector not in (None, NONE, "bm25"):
            raise ConfigurationError("text_index", "set it or bm25_vector, not both")
        if self.text_index is not None or self.bm25_vector == NONE:
            object.__setattr__(self, "bm25_vector", None)
        if not self.branches:
            raise ConfigurationError(
                "dense_vector", "is none, and so is bm25_vector: set one of them, or text_index"
            )

    @property
    def subject(self) -> str:
        """The collection, as messages name it."""
        return f"collection {self.collection!r}"

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches that a search has."""
        bm25: tuple[Branch, ...] = () if self.bm25_name is None else ("bm25",)
        return bm25 if self.dense_vector == NONE else (*bm25, "dense")

    @property
    def dense_name(self) -> str:
        """The dense vector's name on the wire, where the unnamed one is the empty string."""
        return self.dense_vector or ""

    @property
    def bm25_name(self) -> str | None:
        """What BM25 searches: a payload field or a sparse vector; None for no BM25."""
        return self.text_index or self.bm25_vector
