"""Score with a cross-encoder in ONNX Runtime, by default ms-marco-MiniLM-L-12-v2 (int8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

from vecdb_rerank._checks import integer, one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores, Span
from vecdb_rerank.onnx import runtime
from vecdb_rerank.onnx.runtime import Device, OnnxModel
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate
from vecdb_rerank.policy import calibration
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.tokenization.notes import query_notes

if TYPE_CHECKING:
    from vecdb_rerank.onnx.runtime import Array


class OnnxReranker(BaseReranker):
    """Scores pairs of a query and a document with a local cross-encoder.

    Args:
        model: ``"bundled"`` (extra ``offline``), a folder with an ONNX file and
            ``tokenizer.json``, or a hub id, which is downloaded now.
        revision: the hub commit to load.
        file: the ONNX file in the folder, if there are several.
        max_length: tokens of query and document together, at least 8. Each may use half of them,
            and what the other does not need. A longer document is cut; a longer query keeps its
            beginning and its end, half each (note ``truncated_query``).
        device: ``auto`` uses CUDA if this onnxruntime supports it.

    The model is loaded on first use, once per process. A score does not depend on the other
    documents. Special tokens in a text are read as text. Raises `ConfigurationError` if the model
    cannot be found or loaded, `MissingDependencyError` if the bundled weights are not installed.

    """

    keeps_deadline = True
    batch = 8  # a CPU runs one text per core at a time

    def __init__(
        self,
        model: str = BUNDLED,
        *,
        revision: str | None = None,
        file: str | None = None,
        max_length: int = 512,
        device: Device = "auto",
    ) -> None:
        one_of("device", device, get_args(Device))
        self._max_length = integer("max_length", max_length, 8)
        self._weights = locate(model, MS_MARCO_MINILM, revision=revision, file=file)
        self.calibration: calibration.Calibration | None = (
            calibration.MS_MARCO_MINILM if model == BUNDLED else None
        )
        self._device = device
        self.english_only: bool = model == BUNDLED

    @property
    def name(self) -> str:
        """``onnx:`` and the model's name."""
        return f"onnx:{self._weights.name}"

    @cached_property
    def model(self) -> OnnxModel:
        """The model, loaded on first use."""
        return runtime.load(self._weights, self._max_length, self._device)

    def warmup(self) -> None:
        """Load the model and score once, so that the first search does not wait for it."""
        self.score("warm up", ["warm up"], deadline=Deadline())

    def room(self, query: str) -> int:
        """Return how many tokens of a long document are read together with ``query``."""
        return self.model.document_limit(query)

    def token_offsets(self, text: str) -> Sequence[Span]:
        """Return the span of characters of ``text`` that each token stands for."""
        return self.model.token_offsets(text)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return a logit for each document; None for the last ones if the deadline passes."""
        outputs = self.model.run_pairs(query, documents, deadline)
        pairs = [output[1] for output in outputs if output is not None]
        scores = Scores.from_logits(
            [None if output is None else _logit(output[0]) for output in outputs],
            truncated=sum(pair.truncated for pair in pairs),
        )
        return replace(scores, notes=query_notes(pair.query_truncated for pair in pairs))


def _logit(output: Array) -> float:
    """Return the logit of a model with one label, or the log odds of (no, yes)."""
    if output.shape == (1,):
        return float(output[0])
    if output.shape == (2,):
        return float(output[1]) - float(output[0])
    raise ConfigurationError(
        "model", f"its output has shape {output.shape}; a reranker has 1 label, or 2 (no, yes)"
    )
