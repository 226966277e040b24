"""Any cross-encoder of Hugging Face's, in torch, on the GPU or the CPU of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.rerankers.torch_model import Device, DType, TorchReranker
from vecdb_rerank.torch_engine.spec import PROMPTS, Prompt, Spec


class CrossEncoderReranker(TorchReranker):
    """Scores (query, document) pairs with a transformers model.

    Args:
        model: a folder, or a hub id such as ``BAAI/bge-reranker-v2-m3``; safetensors only.
        revision: the hub commit to load.
        max_length: tokens of query and document together, as the model's tokenizer cuts them.
        device: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` is bfloat16 where the hardware multiplies it by itself.
        prompt: how a causal language model is asked: ``"qwen3"``, ``"gemma"``, or a mapping of
            `Prompt`'s fields. Classifiers have none.
        trust_remote_code: run code that comes with the model; a hub id then needs a revision.
        compile: run the model through ``torch.compile``: slower on a CPU, and the first calls
            take minutes.
        fused: on a CPU, compute layers of BERT and XLM-RoBERTa in fewer steps; off, their own
            modules run as they are.
        batch_tokens: tokens computed at once at the most; None leaves it to the memory there is.
        token_cache_mb, score_cache_mb: megabytes for token ids of documents and for scores of
            pairs that come again; 0 keeps none.

    The model is loaded on first use, once a process for all rerankers with these arguments, and
    calls from all threads are computed together. Scores do not depend on what else is scored.
    Raises `ConfigurationError` where an argument is wrong, torch is not installed or the model
    does not load.

    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        max_length: int = 512,
        device: Device = "auto",
        dtype: DType = "auto",
        prompt: str | Mapping[str, Any] | Prompt | None = None,
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
            )
        )

    @property
    def name(self) -> str:
        """``cross_encoder:`` and the model's name."""
        return f"cross_encoder:{self._spec.model}"


def _prompt(given: str | Mapping[str, Any] | Prompt | None) -> Prompt | None:
    if given is None or isinstance(given, Prompt):
        return given
    if isinstance(given, str):
        if given not in PROMPTS:
            raise ConfigurationError(
                "prompt",
                f"{given!r} is none of {', '.join(map(repr, PROMPTS))}; "
                "give a mapping with query and document instead",
            )
        return PROMPTS[given]
    try:
        return Prompt(**given)
    except TypeError as error:
        raise ConfigurationError("prompt", f"{error}") from error
