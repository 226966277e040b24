"""Use a model of the sentence-transformers library as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vecdb_rerank._checks import check_type, integer, shown
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector
from vecdb_rerank.tokenization.special_tokens import (
    disable_in_transformers,
    disable_special_tokens,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer


class SentenceTransformersEmbedder:
    """Embeds texts with a `sentence_transformers.SentenceTransformer` into unit vectors.

    Args:
        model: a folder, a hub id, or a loaded model.
        revision: the hub commit to load.
        device: such as ``cuda`` or ``cpu``; None lets the library choose.
        query_prefix: text before each query, for a model that has no query prompt.
        batch_size: the number of texts per batch.
        trust_remote_code: run code that comes with the model.

    A folder is loaded on first use, a model of the hub now. Special tokens in a text are read as
    text, which changes the tokenizer of a loaded model. Raises `ConfigurationError` if the model
    cannot be loaded.

    """

    def __init__(
        self,
        model: str | SentenceTransformer,
        *,
        revision: str | None = None,
        device: str | None = None,
        query_prefix: str | None = None,
        batch_size: int = 32,
        trust_remote_code: bool = False,
    ) -> None:
        if not isinstance(model, str) and not hasattr(model, "encode"):
            raise ConfigurationError(
                "model", f"must be a folder, a hub id or a SentenceTransformer, got {shown(model)}"
            )
        batch_size = integer("batch_size", batch_size, 1)
        self._given = model
        check_type("revision", revision, str)
        self._revision = revision
        self._device = device
        self._query_prefix = query_prefix
        self._batch_size = batch_size
        self._trust_remote_code = trust_remote_code
        if isinstance(model, str) and not Path(model).expanduser().is_dir():
            _ = self.model  # nothing is downloaded inside a search

    @property
    def name(self) -> str:
        """``sentence_transformers:``, the model's name and its revision."""
        given = self._given if isinstance(self._given, str) else type(self._given).__name__
        return f"sentence_transformers:{given}@{self._revision or 'default'}"

    @cached_property
    def model(self) -> SentenceTransformer:
        """The model, loaded on first use."""
        model = self._load(self._given) if isinstance(self._given, str) else self._given
        _disable_special_tokens(model)
        return model

    @cached_property
    def dimension(self) -> int:
        """The length of every vector."""
        return len(self.embed_documents(["dimension"])[0])

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a query, shape (dimension,).

        The model's own query prompt is used unless ``query_prefix`` is set.
        """
        if self._query_prefix is not None:
            return self._vectors(self.model.encode, [self._query_prefix + text])[0]
        return self._vectors(self.model.encode_query, [text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the unit vectors of documents, shape (len(texts), dimension)."""
        return self._vectors(self.model.encode_document, list(texts))

    def _vectors(
        self, encode: Callable[..., npt.NDArray[np.float32]], texts: list[str]
    ) -> list[list[float]]:
        vectors: list[list[float]] = encode(
            texts,
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        ).tolist()
        return vectors

    def _load(self, name: str) -> SentenceTransformer:
        library = require("sentence_transformers", "sentence-transformers")
        try:
            return library.SentenceTransformer(
                name,
                revision=self._revision,
                device=self._device,
                trust_remote_code=self._trust_remote_code,
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError("model", f"{name!r}: {error}") from error


def _disable_special_tokens(model: SentenceTransformer) -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

    tokenizer: object = model.tokenizer
    if isinstance(tokenizer, Tokenizer):  # of a static embedding
        disable_special_tokens(tokenizer)
    elif isinstance(tokenizer, PreTrainedTokenizerBase):
        disable_in_transformers(tokenizer)
