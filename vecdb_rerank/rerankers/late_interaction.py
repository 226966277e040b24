"""Late interaction (ColBERT) in torch: the vectors of documents' tokens are computed once."""

from __future__ import annotations

from typing import Any

from vecdb_rerank.rerankers.torch_model import Device, DType, TorchReranker
from vecdb_rerank.torch_engine.spec import VectorSpec


class LateInteractionReranker(TorchReranker):
    """Scores documents by the sum of MaxSim over the query's token vectors.

    Args:
        model: a folder, or a hub id such as ``colbert-ir/colbertv2.0``; safetensors only.
        revision: the hub commit to load.
        max_length: tokens of a document, markers included; the rest is cut.
        device: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` is bfloat16 where the hardware multiplies it by itself; vectors are then
            kept in float16.
        batch_tokens: tokens computed at once at the most; None leaves it to the memory there is.
        vector_cache_mb: megabytes for the vectors of documents that come again; 0 keeps none. A
            token of 128 dimensions takes 512 bytes in float32, 256 in half precision.

    ColBERT's own checkpoints and PyLate's are read as they were trained: markers, queries filled up
    with mask tokens, the linear projection, no punctuation in documents. Any other encoder is
    taken plain. The relevance is the mean of MaxSim, bounded to 0 to 1, which is no probability:
    ``vecdb-rerank calibrate`` makes it one. Scores do not depend on what else is scored. Raises
    `ConfigurationError` where an argument is wrong, torch is not installed or the model does not
    load.

    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        max_length: int = 512,
        device: Device = "auto",
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

    @property
    def engine(self) -> Any:
        """The engine of this process, shared by all rerankers with the same arguments."""
        from vecdb_rerank.torch_engine import engine
        from vecdb_rerank.torch_engine.late_interaction import LateEngine

        return engine.of(self._spec, LateEngine)
