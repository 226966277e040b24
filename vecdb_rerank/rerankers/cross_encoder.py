"""Any cross-encoder of Hugging Face's, in torch, on the GPU or the CPU of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vecdb_rerank.candidates import Scores
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import valid_unicode
from vecdb_rerank.engine.spec import PROMPTS, Prompt, Spec
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow import Flow, Request, in_thread, run

Device = str
DType = Literal["auto", "float32", "bfloat16", "float16"]


class CrossEncoderReranker:
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
    Raises `ConfigurationError` where an argument is wrong or the model does not load.

    """

    keeps_deadline = True
    local = True

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
        self._spec = Spec(
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

    @property
    def name(self) -> str:
        """``cross_encoder:`` and the model's name."""
        return f"cross_encoder:{self._spec.model}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    @property
    def engine(self) -> Any:
        """The engine of this process, shared by all rerankers with the same arguments."""
        from vecdb_rerank.engine import engine

        return engine.of(self._spec)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded; it stays False until a first call or `warmup`."""
        is_ready: bool = self.engine.ready
        return is_ready

    def warmup(self, *, deadline: Deadline | None = None) -> bool:
        """Load the model and compute something of each size; whether that was done in time.

        For the start of a server, before it says that it is ready. Raises `ConfigurationError`
        where the model does not load.
        """
        done: bool = self.engine.warmup(deadline or Deadline())
        return done

    def room(self, query: str) -> int:
        """The tokens of a document that are read beside ``query``."""
        tokens: int = self.engine.runner(Deadline()).tokens.room(valid_unicode(query))
        return tokens

    def token_offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Where in ``text`` (characters) each of its tokens is."""
        offsets: Sequence[tuple[int, int]]
        offsets = self.engine.runner(Deadline()).tokens.offsets(valid_unicode(text))
        return offsets

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Logits of the documents; those the deadline overtakes stay None, later ones first."""
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """`score` as a flow: an asynchronous search that is cancelled is computed no further."""
        from vecdb_rerank.engine.engine import Call

        call = Call(query, documents, deadline)
        engine = self.engine

        async def score_async() -> Scores:
            try:
                return await asyncio.wrap_future(in_thread(lambda: engine.score(call)))
            except asyncio.CancelledError:
                call.cancel()
                raise

        scores: Scores = yield Request(lambda: engine.score(call), score_async)
        return scores


def _prompt(given: str | Mapping[str, Any] | Prompt | None) -> Prompt | None:
    if given is None or isinstance(given, Prompt):
        return given
    if isinstance(given, str):
        if given not in PROMPTS:
            raise ConfigurationError(
                f"prompt: {given!r} is none of {', '.join(map(repr, PROMPTS))}; "
                "give a mapping with query and document instead"
            )
        return PROMPTS[given]
    try:
        return Prompt(**given)
    except TypeError as error:
        raise ConfigurationError(f"prompt: {error}") from error
