"""Embed with a sentence-transformers checkpoint in torch, without padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from vecdb_rerank._checks import check_type
from vecdb_rerank._optional import require_installed
from vecdb_rerank.errors import ConfigurationError, EmbedderError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.protocols import Vector
from vecdb_rerank.torch_engine.checkpoints.embedding import read_embedding_config
from vecdb_rerank.torch_engine.checkpoints.files import download, find_folder
from vecdb_rerank.torch_engine.hardware import RerankerDType
from vecdb_rerank.torch_engine.spec import LIBRARIES, EmbeddingSpec

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.embedding import EmbeddingEngine

_MAX_LENGTH = 512  # of a checkpoint that states none


class TorchEmbedder:
    """Embeds texts with a sentence-transformers checkpoint into unit vectors.

    Args:
        model: a folder, or a hub id such as ``BAAI/bge-m3``, which is downloaded now; safetensors
            only. Its modules must be a Transformer, Pooling, and any number of Dense and Normalize.
        revision: the hub commit to load.
        max_length: tokens of a text, at least 8; a longer one is cut. None is the checkpoint's
            length, or 512 if it states none.
        device: ``auto`` (CUDA, MPS or CPU, whichever comes first), ``cpu``, ``cuda:1`` ...
        dtype: the number format of the model; int8 needs a CPU. Vectors of different formats
            differ a little, so queries and documents should have the same one.
        query_prefix, document_prefix: text before each query or document; None is the checkpoint's
            prompt of the name ``query`` or ``document``, if it has one.
        trust_remote_code: run code that comes with the model; a hub id then needs a revision.
        batch_tokens: the most tokens per batch; None depends on the free memory.

    In float32 the vectors are those of `sentence_transformers.SentenceTransformer`. A vector does
    not depend on the other texts. Architectures that cannot be computed without padding are padded.
    Special tokens in a text are read as text. The model is loaded on first use, once per process
    for all embedders with the same arguments.

    Raises `ConfigurationError` if an argument is wrong, the checkpoint has modules that are not
    supported, or the model cannot be loaded; `MissingDependencyError` if torch is not installed.

    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: RerankerDType = "float32",
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        trust_remote_code: bool = False,
        batch_tokens: int | None = None,
    ) -> None:
        for library in LIBRARIES:
            require_installed(library, "torch")
        check_type("query_prefix", query_prefix, str)
        check_type("document_prefix", document_prefix, str)
        spec = EmbeddingSpec(
            model,
            revision=revision,
            max_length=_MAX_LENGTH if max_length is None else max_length,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            batch_tokens=batch_tokens,
            token_cache_mb=0.0,
            score_cache_mb=0.0,
        )
        download(spec)
        config = read_embedding_config(find_folder(spec))
        if max_length is None and config.max_length is not None:
            spec = replace(spec, max_length=config.max_length)
        self._spec = spec
        self._query_prefix = config.query_prompt if query_prefix is None else query_prefix
        self._document_prefix = (
            config.document_prompt if document_prefix is None else document_prefix
        )

    @property
    def name(self) -> str:
        """``torch:``, the model's name and revision, its length and its number format."""
        spec = self._spec
        return f"torch:{spec.model}@{spec.revision or 'default'}:{spec.max_length}:{spec.dtype}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    @property
    def engine(self) -> EmbeddingEngine:
        """The engine of this process, shared by all embedders with the same arguments."""
        from vecdb_rerank.torch_engine.registry import get_embedding_engine

        return get_embedding_engine(self._spec)

    @cached_property
    def dimension(self) -> int:
        """The length of every vector."""
        return len(self.embed_documents(["dimension"])[0])

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a query, shape (dimension,)."""
        return self._embed([self._query_prefix + text])[0]

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the unit vectors of documents, shape (len(texts), dimension)."""
        return self._embed([self._document_prefix + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        from vecdb_rerank.torch_engine.engine import Call

        try:
            arrays = self.engine.embed(Call("", texts, Deadline()))
        except RerankError as error:  # such as for want of memory
            raise EmbedderError(str(error)) from error
        vectors: list[list[float]] = [array.tolist() for array in arrays]
        if any(math.isnan(sum(vector)) for vector in vectors):
            raise ConfigurationError("dtype", f"{self.name} returned numbers that are not finite")
        return vectors
