"""Score by late interaction (ColBERT) in torch, with cached token vectors of documents."""

from __future__ import annotations

from vecdb_rerank.rerankers.torch_model import TorchReranker
from vecdb_rerank.torch_engine.hardware import DType
from vecdb_rerank.torch_engine.spec import VectorSpec


class LateInteractionReranker(TorchReranker):
    """Scores a document by the sum of MaxSim over the query's token vectors.

    Args:
        model: a folder, or a hub id such as ``colbert-ir/colbertv2.0``, which is downloaded now;
            safetensors only.
        revision: the hub commit to load.
        max_length: tokens of a document, markers included; a longer one is cut.
        device: ``auto`` (CUDA, MPS or CPU, whichever comes first), ``cpu``, ``cuda:1`` ...
        dtype: ``auto`` is bfloat16 if the hardware multiplies it; vectors are then cached in
            float16.
        batch_tokens: the most tokens per batch; None depends on the free memory.
        vector_cache_mb: megabytes for the vectors of documents; 0 caches none. A token of 128
            dimensions takes 512 bytes in float32, 256 in half precision.

    Checkpoints of ColBERT and PyLate are used as they were trained: with markers, queries filled
    with mask tokens, the linear projection, and no punctuation in documents. Any other encoder is
    used plainly. A query longer than the checkpoint's query length (``max_length`` for a plain
    encoder) keeps its beginning and its end, half each (note ``truncated_query``). Special tokens
    in a text are read as text.

    The relevance is the mean of MaxSim, clipped to 0-1. It is not a probability until
    ``vecdb-rerank calibrate`` has calibrated it. A score does not depend on the other documents.
    Raises `ConfigurationError` if an argument is wrong or the model cannot be loaded,
    `MissingDependencyError` if torch is not installed.

    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        max_length: int = 512,
        device: str = "auto",
        dtype: DType = "auto",
        batch_tokens: int | None = None,
        vector_cache_mb: float = 256.0,
    ) -> None:
        super().__init__(
            VectorSpec(
                model,
                revision=revision,
                max_length=max_length,
                device=device,
                dtype=dtype,
                batch_tokens=batch_tokens,
                token_cache_mb=0.0,
                score_cache_mb=vector_cache_mb,
            )
        )

    @property
    def name(self) -> str:
        """``late_interaction:`` and the model's name."""
        return f"late_interaction:{self._spec.model}"
