"""Score with a cross-encoder of the transformers library, on a GPU or the CPU."""

from __future__ import annotations

from collections.abc import Mapping

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.rerankers.torch_model import TorchReranker
from vecdb_rerank.torch_engine.hardware import RerankerDType, pick_device
from vecdb_rerank.torch_engine.spec import PROMPTS, Prompt, Spec

_CPU_BATCH = 16  # documents packed together, enough for an efficient matrix product


class CrossEncoderReranker(TorchReranker):
    """Scores pairs of a query and a document with a transformers model.

    Args:
        model: a folder, or a hub id such as ``BAAI/bge-reranker-v2-m3``, which is downloaded now;
            safetensors only.
        revision: the hub commit to load.
        max_length: tokens of query and document together, at least 8. Each may use half of them,
            and what the other does not need. A longer document is cut; a longer query keeps its
            beginning and its end, half each (note ``truncated_query``).
        device: ``auto`` (CUDA, MPS or CPU, whichever comes first), ``cpu``, ``cuda:1`` ...
        dtype: ``auto`` is bfloat16 or float32, whichever is faster here. int8 needs a CPU; if the
            scores of fixed pairs differ too much when the model loads, the model is computed in
            float32, and a warning is logged.
        prompt: the prompt of a causal language model: ``"qwen3"``, ``"gemma"``, or a mapping of
            the fields of `Prompt`. Classifiers have none.
        instruction: what counts as relevant, for prompts with ``{instruction}`` such as
            ``qwen3``; an instruction of a search replaces it.
        trust_remote_code: run code that comes with the model; a hub id then needs a revision.
        compile: run the model through ``torch.compile``, which is slower on a CPU and takes
            minutes in the first calls.
        fused: on a CPU, compute the layers of BERT and XLM-RoBERTa in fewer steps.
        batch_tokens: the most tokens per batch; None depends on the free memory.
        token_cache_mb, score_cache_mb: megabytes for token ids of documents and for scores of
            pairs; 0 caches none.

    The model is loaded on first use, once per process for all rerankers with the same arguments.
    Calls of all threads are computed together. A score does not depend on the other documents.
    Special tokens in a text are read as text. Raises `ConfigurationError` if an argument is wrong
    or the model cannot be loaded, `MissingDependencyError` if torch is not installed.

    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        max_length: int = 512,
        device: str = "auto",
        dtype: RerankerDType = "auto",
        prompt: str | Mapping[str, str | None] | Prompt | None = None,
        instruction: str | None = None,
        trust_remote_code: bool = False,
        compile: bool = False,
        fused: bool = True,
        batch_tokens: int | None = None,
        token_cache_mb: float = 64.0,
        score_cache_mb: float = 32.0,
    ) -> None:
        super().__init__(
            Spec(
                model,
                revision=revision,
                max_length=max_length,
                device=device,
                dtype=dtype,
                prompt=_prompt(prompt),
                trust_remote_code=trust_remote_code,
                compile=compile,
                fused=fused,
                batch_tokens=batch_tokens,
                token_cache_mb=token_cache_mb,
                score_cache_mb=score_cache_mb,
            ),
            instruction,
        )

    @property
    def name(self) -> str:
        """``cross_encoder:`` and the model's name."""
        return f"cross_encoder:{self._spec.model}"

    @property
    def batch(self) -> int | None:  # type: ignore[override]  # known once torch is imported
        """16 documents on a CPU; None on a GPU, which scores all of them together fastest."""
        return _CPU_BATCH if pick_device(self._spec.device).type == "cpu" else None


def _prompt(given: str | Mapping[str, str | None] | Prompt | None) -> Prompt | None:
    if given is None or isinstance(given, Prompt):
        return given
    if isinstance(given, str):
        if given not in PROMPTS:
            raise ConfigurationError(
                "prompt",
                f"must be one of: {', '.join(PROMPTS)}, or a mapping with query and document; "
                f"got {given!r}",
            )
        return PROMPTS[given]
    try:
        return Prompt(**given)  # type: ignore[arg-type]  # checked by the class
    except TypeError as error:
        raise ConfigurationError("prompt", f"{error}") from error
