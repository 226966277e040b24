"""A cross-encoder in ONNX Runtime; by default the bundled ms-marco-MiniLM-L-12-v2 (int8)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores, Span
from vecdb_rerank.onnx import runtime
from vecdb_rerank.onnx.runtime import Device, OnnxModel
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate
from vecdb_rerank.policy import calibration
from vecdb_rerank.protocols import BaseReranker

if TYPE_CHECKING:
    from vecdb_rerank.onnx.runtime import Array


class OnnxReranker(BaseReranker):
    """Scores (query, document) pairs with a local cross-encoder.

    Args:
        model: ``"bundled"``, a folder with an ONNX file and ``tokenizer.json``, or a hub id.
        revision: the hub commit to load.
        file: the ONNX file in the folder, where it has several.
        max_length: tokens of query and document together; the document is cut.
        device: ``auto`` takes CUDA where this onnxruntime has it.

    The model is loaded on first use, once per process. Scores do not depend on which other
    documents are scored with them. Raises `ConfigurationError` where the model does not load.

    """

    keeps_deadline = True

    def __init__(
        self,
        model: str = BUNDLED,
        *,
        revision: str | None = None,
        file: str | None = None,
        max_length: int = 512,
        device: Device = "auto",
    ) -> None:
        self._weights = locate(model, MS_MARCO_MINILM, revision=revision, file=file)
        self.calibration: calibration.Calibration | None = (
            calibration.MS_MARCO_MINILM if model == BUNDLED else None
        )
        self._max_length = max_length
        self._device = device

    @property
    def name(self) -> str:
        """``onnx:`` and the model's name."""
        return f"onnx:{self._weights.name}"

    @cached_property
    def model(self) -> OnnxModel:
        """The loaded model."""
        return runtime.load(self._weights, self._max_length, self._device)

    def warmup(self) -> None:
        """Load the model and compute once, so that the first search does not wait for it."""
        self.score("warm up", ["warm up"], deadline=Deadline())

    def room(self, query: str) -> int:
        """The tokens of a document that are read beside ``query``."""
        return self.model.room(query)

    def token_offsets(self, text: str) -> Sequence[Span]:
        """Where in ``text`` (characters) each of its tokens is."""
        return self.model.token_offsets(text)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Logits of the documents; those the deadline overtakes stay None, later ones first."""
        outputs = self.model.run_pairs(query, documents, deadline)
        logits = [None if output is None else _logit(output[0]) for output in outputs]
        truncated = sum(output is not None and output[1] for output in outputs)
        return Scores.from_logits(logits, truncated=truncated)


def _logit(output: Array) -> float:
    """The logit of a one-label model, or the log odds of a no/yes one."""
    if output.shape == (1,):
        return float(output[0])
    if output.shape == (2,):
        return float(output[1]) - float(output[0])
    raise ConfigurationError(
        "model", f"its output has shape {output.shape}; a reranker has 1 label, or 2 (no, yes)"
    )
