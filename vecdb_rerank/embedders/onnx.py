"""Embed with a bi-encoder in ONNX Runtime, by default bge-small-en-v1.5 (int8, 384 dimensions)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from vecdb_rerank._checks import check_type, integer, one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.onnx import runtime
from vecdb_rerank.onnx.runtime import Device, OnnxModel
from vecdb_rerank.onnx.weights import BGE_SMALL, BUNDLED, locate

if TYPE_CHECKING:
    from vecdb_rerank.onnx.runtime import Array

# From the model card of BAAI/bge-small-en-v1.5; documents have no prefix.
BGE_QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
Pooling = Literal["cls", "mean"]


class OnnxEmbedder:
    """Embeds texts with a local model into unit vectors.

    Args:
        model: ``"bundled"`` (extra ``offline``), a folder with an ONNX file and
            ``tokenizer.json``, or a hub id, which is downloaded now.
        revision: the hub commit to load.
        file: the ONNX file in the folder, if there are several.
        pooling: how the token vectors become one: the first (``cls``) or their ``mean``.
        query_prefix: text before each query; by default that of bge for the bundled model.
        max_length: the number of tokens, at least 8, after which a text is cut.
        device: ``auto`` uses CUDA if this onnxruntime supports it.

    Special tokens in a text are read as text. Raises `ConfigurationError` if the model cannot be
    found or loaded, `MissingDependencyError` if the bundled weights are not installed.

    """

    def __init__(
        self,
        model: str = BUNDLED,
        *,
        revision: str | None = None,
        file: str | None = None,
        pooling: Pooling = "cls",
        query_prefix: str | None = None,
        max_length: int = 512,
        device: Device = "auto",
    ) -> None:
        one_of("device", device, get_args(Device))
        one_of("pooling", pooling, get_args(Pooling))
        check_type("query_prefix", query_prefix, str)
        self._max_length = integer("max_length", max_length, 8)
        self._weights = locate(model, BGE_SMALL, revision=revision, file=file)
        self._version = ":".join(filter(None, (revision, file)))
        self._pooling = pooling
        default_prefix = BGE_QUERY_PREFIX if model == BUNDLED else ""
        self._query_prefix = default_prefix if query_prefix is None else query_prefix
        self._device = device
        self.english_only: bool = model == BUNDLED

    @property
    def name(self) -> str:
        """``onnx:``, the model's name, and everything else that the vectors depend on."""
        version = f":{self._version}" if self._version else ""
        return f"onnx:{self._weights.name}{version}:{self._pooling}:{self._max_length}"

    @cached_property
    def model(self) -> OnnxModel:
        """The model, loaded on first use."""
        return runtime.load(self._weights, self._max_length, self._device)

    @cached_property
    def dimension(self) -> int:
        """The length of every vector."""
        width = self.model.width
        return width if isinstance(width, int) else len(self.embed_documents(["width"])[0])

    def embed_query(self, text: str) -> list[float]:
        """Return the unit vector of a query, shape (dimension,)."""
        return self.embed_documents([self._query_prefix + text])[0]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the unit vectors of documents, shape (len(texts), dimension)."""
        return [self._vector(output) for output in self.model.run(texts)]

    def _vector(self, output: Array) -> list[float]:
        import numpy as np

        if output.ndim == 2:  # (tokens, width); otherwise the model has pooled them
            output = output[0] if self._pooling == "cls" else output.mean(axis=0)
        norm = float(np.linalg.norm(output))
        if not np.isfinite(norm) or norm == 0.0:
            raise ConfigurationError(
                "model", f"{self._weights.name} returned a zero or infinite vector"
            )
        vector: list[float] = (output / norm).tolist()
        return vector
