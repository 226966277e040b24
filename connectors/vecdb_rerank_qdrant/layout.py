"""Where a collection keeps what is searched."""

from __future__ import annotations

from dataclasses import dataclass

BM25_MODEL = "qdrant/bm25"
"""The name of the model with which a server encodes BM25."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a collection keeps its vectors; ``dense_vector`` None or empty is the unnamed one."""

    collection: str
    dense_vector: str | None = "dense"
    bm25_vector: str = "bm25"

    def __post_init__(self) -> None:
        if self.dense_vector == "":  # its name on the wire, and all that TOML can say
            object.__setattr__(self, "dense_vector", None)

    @property
    def dense_name(self) -> str:
        """The dense vector's name on the wire, where the unnamed one is the empty string."""
        return self.dense_vector or ""
