"""Score with the FlagEmbedding library, for models that only it can run, such as layerwise ones.

`cross_encoder` is faster for the models that it can load. The library recovers from a lack of
memory in its first batch only, takes any error of torch for one, breaks on an empty list, and its
tokenizer fails under threads. So it is called by one thread at a time, on one device, with one
batch per call, and never without documents. It computes its first batch twice; here the second
forward pass returns the output of the first.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal, Protocol

from vecdb_rerank._checks import integer, one_of
from vecdb_rerank._optional import require, require_installed
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.tokenization.notes import query_notes
from vecdb_rerank.tokenization.special_tokens import disable_in_transformers
from vecdb_rerank.torch_engine import fork_guard
from vecdb_rerank.torch_engine.checkpoints.files import download, find_folder, read_json
from vecdb_rerank.torch_engine.memory import TokenBudget, run_within
from vecdb_rerank.torch_engine.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["encoder", "llm", "layerwise"]
Pairs = Sequence[tuple[str, str]]
_CLASSES = {
    "encoder": "FlagReranker",
    "llm": "FlagLLMReranker",
    "layerwise": "LayerWiseFlagLLMReranker",
}
_BATCH_SIZE = 32
_UNLIMITED = 1 << 30


class FlagReranker(Protocol):
    """What the library's rerankers have in common."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pool: object  # of processes, None on one device

    def compute_score(
        self, sentence_pairs: list[tuple[str, str]], **options: object
    ) -> Sequence[float] | Sequence[Sequence[float]]:
        """Return a score per pair, or for a layerwise model a list of them per layer."""
        ...


@dataclass(frozen=True, slots=True)
class _Options:
    """What, besides the `Spec`, a model is loaded with."""

    kind: Kind
    device: str | None
    use_fp16: bool
    cutoff_layer: int | None


class FlagEmbeddingReranker(BaseReranker):
    """Scores pairs of a query and a document with one of FlagEmbedding's rerankers.

    Args:
        model: a folder, or a hub id, which is downloaded now; safetensors only.
        kind: ``encoder`` (`FlagReranker`), ``llm`` or ``layerwise``.
        revision: the hub commit to load.
        max_length: tokens of query and document together; the document is cut. A query longer than
            three quarters keeps its beginning and its end, half each (note ``truncated_query``).
        device: such as ``cuda:0``; None takes the first that the library finds.
        use_fp16: half precision on a GPU; ``layerwise`` always uses it there.
        cutoff_layer: the layer whose score counts, for ``layerwise``; None takes the last.
        batch_size: documents per batch.
        trust_remote_code: run code that comes with the model; a hub id then needs a revision.

    The model is loaded on first use, once per process. Concurrent calls are computed one after
    another. Special tokens in a text are read as text. Raises `ConfigurationError` if an argument
    is wrong or the model cannot be loaded (the library's own layerwise MiniCPM cannot, on
    transformers 5), `MissingDependencyError` if the library is not installed, and `RerankError` if
    one document does not fit into memory or the model fails.

    """

    local = True

    def __init__(
        self,
        model: str,
        *,
        kind: Kind = "encoder",
        revision: str | None = None,
        max_length: int = 512,
        device: str | None = None,
        use_fp16: bool = False,
        cutoff_layer: int | None = None,
        batch_size: int = _BATCH_SIZE,
        trust_remote_code: bool = False,
    ) -> None:
        one_of("kind", kind, _CLASSES)
        if cutoff_layer is not None and kind != "layerwise":
            raise ConfigurationError("cutoff_layer", "must only be set for kind = 'layerwise'")
        batch_size = integer("batch_size", batch_size, 1)
        require_installed("FlagEmbedding", "flagembedding")
        self._spec = Spec(
            model, revision=revision, max_length=max_length, trust_remote_code=trust_remote_code
        )
        self._options = _Options(kind, device, use_fp16, cutoff_layer)
        self._batch_size = batch_size
        download(self._spec)

    @property
    def name(self) -> str:
        """``flag_embedding:`` and the model's name."""
        return f"flag_embedding:{self._spec.model}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    def warmup(self) -> None:
        """Load the model and score once, so that the first search does not wait for it."""
        self.score("warm up", ["warm up"], deadline=Deadline())

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return a logit for each document; None for batches that start after the deadline."""
        query, documents = valid_unicode(query), [valid_unicode(text) for text in documents]
        # Never in the caller's thread: torch starts helper threads for the thread that computes,
        # and waits for them in a child that this thread forks, which does not have them.
        return in_thread(lambda: self._score(query, documents, deadline)).result()

    def _score(self, query: str, documents: Sequence[str], deadline: Deadline) -> Scores:
        logits: list[float | None] = []
        truncated = False
        while len(logits) < len(documents) and not deadline.expired:
            model = _load(self._spec, self._options, os.getpid())
            batch = documents[len(logits) : len(logits) + self._batch_size]
            result = model.score(query, batch, deadline)
            if result is None:
                break
            scores, truncated = result
            logits += scores
        logits += [None] * (len(documents) - len(logits))
        return replace(Scores.from_logits(logits), notes=query_notes([truncated]))


class _OutOfMemory(Exception):
    """Torch's out-of-memory error, as an exception that the library does not catch."""


class _ModelError(Exception):
    """Any other error of the model, as an exception that the library does not catch."""


class _LockedModel:
    """One of the library's rerankers; all of them together compute one call at a time."""

    def __init__(
        self, reranker: FlagReranker, max_length: int, options: Mapping[str, object]
    ) -> None:
        self._reranker = reranker
        self._query_limit = max_length * 3 // 4
        # The query is cut here; the library would cut off its end.
        self._options = {**options, "query_max_length": max_length}
        self._budget = TokenBudget(_UNLIMITED)
        self._output: object = None
        disable_in_transformers(reranker.tokenizer)
        model = reranker.model
        model.forward = self._wrap(model.forward)

    def score(
        self, query: str, documents: Sequence[str], deadline: Deadline
    ) -> tuple[list[float], bool] | None:
        """Return a logit per document and whether the query was cut; None after the deadline."""
        lock = _computing
        if not lock.acquire(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX)):
            return None
        try:
            query, truncated = self._shorten(query)
            pairs = [(query, document) for document in documents]
            count = self._budget.tokens
            parts = [pairs[n : n + count] for n in range(0, len(pairs), count)]
            results = [run_within(self._budget, self._compute, part, len) for part in parts]
            return [logit for part in results for logit in part], truncated
        finally:
            lock.release()

    def _shorten(self, query: str) -> tuple[str, bool]:
        """Return the beginning and the end of a query that is too long, and whether it is."""
        tokenizer, limit = self._reranker.tokenizer, self._query_limit
        ids = tokenizer.encode(query, add_special_tokens=False)
        if len(ids) <= limit:
            return query, False
        first = limit // 2
        start, end = ids[:first], ids[len(ids) - (limit - first) :]
        return f"{tokenizer.decode(start)} {tokenizer.decode(end)}", True

    def _compute(self, pairs: Pairs) -> list[float]:
        torch = require("torch", "torch")
        # A batch size larger than the list makes one batch, without most of the progress bars.
        options = {**self._options, "batch_size": len(pairs) + 1}
        try:
            with _no_progress_bar(self._reranker):
                scores = self._reranker.compute_score(list(pairs), **options)
        except _OutOfMemory as error:
            raise torch.OutOfMemoryError(str(error)) from error
        except _ModelError as error:
            raise RerankError(f"the model failed: {error}") from error.__cause__
        finally:
            self._output = None
        last = scores[-1]
        logits = scores if isinstance(last, float | int) else last  # one list per layer
        return [float(logit) for logit in logits]  # type: ignore[arg-type]

    def _wrap(self, forward: Callable[..., object]) -> Callable[..., object]:
        torch = require("torch", "torch")

        def wrapped(*args: object, **kwargs: object) -> object:
            if self._output is None:  # otherwise the library computes the same batch again
                try:
                    self._output = forward(*args, **kwargs)
                except torch.OutOfMemoryError as error:
                    raise _OutOfMemory(str(error)) from error
                except Exception as error:
                    raise _ModelError(f"{type(error).__name__}: {error}") from error
            return self._output

        return wrapped


@contextmanager
def _no_progress_bar(reranker: FlagReranker) -> Iterator[None]:
    """Turn off the progress bar that the library's decoders show in every call."""
    module = sys.modules[type(reranker).__module__]
    trange = require("tqdm", "flagembedding").trange
    vars(module)["trange"] = partial(trange, disable=True)
    try:
        yield
    finally:
        vars(module)["trange"] = trange


_loading = threading.Lock()
_computing = threading.Lock()


def _after_fork_in_child() -> None:
    global _loading, _computing
    _loading, _computing = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):  # no batch is being computed during a fork
    os.register_at_fork(
        before=lambda: _computing.acquire(),
        after_in_parent=lambda: _computing.release(),
        after_in_child=_after_fork_in_child,
    )


def _load(spec: Spec, options: _Options, process: int) -> _LockedModel:
    with _loading:
        return _load_once(spec, options, process)


@lru_cache(maxsize=8)
def _load_once(spec: Spec, options: _Options, _process: int) -> _LockedModel:
    with fork_guard.loading():
        return _load_model(spec, options)


def _load_model(spec: Spec, options: _Options) -> _LockedModel:
    library = require("FlagEmbedding", "flagembedding")
    from vecdb_rerank.torch_engine.checkpoints.licences import warn_non_commercial
    from vecdb_rerank.torch_engine.checkpoints.loading import explained
    from vecdb_rerank.torch_engine.checkpoints.remote_code import check_code

    folder = find_folder(spec)
    if options.kind == "layerwise":
        _check_layers(read_json(folder / "config.json"), options.cutoff_layer)
    check_code(spec, folder)
    warn_non_commercial(spec.model, folder)
    kind = getattr(library, _CLASSES[options.kind])
    with explained(spec):
        reranker: FlagReranker = kind(
            str(folder),
            devices=kind.get_target_devices(options.device)[:1],
            use_fp16=options.use_fp16 or options.kind == "layerwise",
            max_length=spec.max_length,
            trust_remote_code=spec.trust_remote_code,
        )
    cutoff = options.cutoff_layer
    return _LockedModel(
        reranker, spec.max_length, {} if cutoff is None else {"cutoff_layers": [cutoff]}
    )


def _check_layers(config: Mapping[str, object], cutoff_layer: int | None) -> None:
    if config.get("model_type") == "minicpm":
        version = require("transformers", "torch").__version__
        raise ConfigurationError(
            "model",
            "FlagEmbedding's layerwise MiniCPM does not run on transformers "
            f"{version}; use another model, such as BAAI/bge-reranker-v2-gemma "
            "(type = 'cross_encoder', prompt = 'gemma'), or serve this one with transformers 4.44 "
            "in another environment, behind type = 'http'",
        )
    first, last = config.get("start_layer", 1), config.get("num_hidden_layers", cutoff_layer)
    if cutoff_layer is None or not isinstance(first, int) or not isinstance(last, int):
        return
    if not first <= cutoff_layer <= last:
        raise ConfigurationError(
            "cutoff_layer", f"must be from {first} to {last} for this model, got {cutoff_layer}"
        )
