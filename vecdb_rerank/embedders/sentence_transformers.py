"""Any model of the sentence-transformers library as an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector


class SentenceTransformersEmbedder:
    """Embeds with a `sentence_transformers.SentenceTransformer`, to unit vectors.

    Args:
        model: a folder, a hub id, or a loaded model.
        revision: the hub commit to load.
        device: ``cuda``, ``cpu`` ...; None lets the library choose.
        query_prefix: put before queries, where the model has no prompt of its own.
        batch_size: texts per batch.
        trust_remote_code: run code that comes with the model; off unless you ask for it.

    """

    def __init__(
        self,
        model: Any,
        *,
        revision: str | None = None,
        device: str | None = None,
        query_prefix: str | None = None,
        batch_size: int = 32,
        trust_remote_code: bool = False,
    ) -> None:
        self._given = model
        self._options = {
            "revision": revision,
            "device": device,
            "trust_remote_code": trust_remote_code,
        }
        self._query_prefix = query_prefix
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        """The model's name."""
        given = self._given if isinstance(self._given, str) else type(self._given).__name__
        return f"sentence_transformers:{given}@{self._options['revision'] or 'default'}"

    @cached_property
    def model(self) -> Any:
        """The loaded model."""
        if not isinstance(self._given, str):
            return self._given
        library = require("sentence_transformers", "sentence-transformers")
        try:
            return library.SentenceTransformer(self._given, **self._options)
        except (OSError, ValueError) as error:
            raise ConfigurationError("embedder.model", f"{self._given!r}: {error}") from error

    @cached_property
    def dimension(self) -> int:
        """The length of every vector."""
        return len(self.embed_documents(["dimension"])[0])

    def embed_query(self, text: str) -> Vector:
        """The unit vector of a query, by the model's own query prompt where it has one."""
        if self._query_prefix is not None:
            return self._encode(self.model.encode, [self._query_prefix + text])[0]
        return self._encode(self.model.encode_query, [text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """The unit vectors of documents, shape (len(texts), dimension)."""
        return self._encode(self.model.encode_document, list(texts))

    def _encode(self, encode: Any, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = encode(
            texts,
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        ).tolist()
        return vectors
