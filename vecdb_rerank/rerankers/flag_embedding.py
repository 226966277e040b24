"""The FlagEmbedding library's rerankers, for models that only it runs, such as layerwise ones.

What `cross_encoder` loads is faster there. Around the library's own ways stands a fence: it is
asked by one thread at a time, on one device, never with nothing, and never in several batches at
once, since it recovers from a lack of memory in the first one only and takes any error of torch
for one. That first batch it computes twice, which is once here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Literal

from vecdb_rerank._optional import require, require_installed
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.torch_engine import fork_guard
from vecdb_rerank.torch_engine.memory import Budget, within
from vecdb_rerank.torch_engine.spec import Spec

Kind = Literal["encoder", "llm", "layerwise"]
_CLASSES = {
    "encoder": "FlagReranker",
    "llm": "FlagLLMReranker",
    "layerwise": "LayerWiseFlagLLMReranker",
}
_BATCH = 32


class FlagEmbeddingReranker(BaseReranker):
    """Scores (query, document) pairs with one of FlagEmbedding's rerankers.

    Args:
        model: a folder, or a hub id; safetensors only.
        kind: ``encoder`` (`FlagReranker`), ``llm`` or ``layerwise``.
        revision: the hub commit to load.
        max_length: tokens of query and document together; the document is cut.
        device: such as ``cuda:0``; None takes the first that the library finds.
        use_fp16: half precision, on a GPU; ``layerwise`` knows no other there.
        cutoff_layer: the layer whose score counts, for ``layerwise``; None takes the last.
        batch_size: documents computed at once.
        trust_remote_code: run code that comes with the model; a hub id then needs a revision.

    The model is loaded on first use, once a process. Calls that come at once are computed one
    after another. Raises `ConfigurationError` where an argument is wrong, the library is not
    installed or the model does not load, as the library's own layerwise MiniCPM does not on
    transformers 5; `RerankError` where one document does not fit into memory or the model fails.

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
        batch_size: int = _BATCH,
        trust_remote_code: bool = False,
    ) -> None:
        if kind not in _CLASSES:
            raise ConfigurationError("kind", f"{kind!r} is none of {', '.join(_CLASSES)}")
        if cutoff_layer is not None and kind != "layerwise":
            raise ConfigurationError("cutoff_layer", "only for kind = 'layerwise'")
        if batch_size < 1:
            raise ConfigurationError("batch_size", f"{batch_size} is below 1")
        require_installed("FlagEmbedding", "flagembedding")
        self._spec = Spec(
            model, revision=revision, max_length=max_length, trust_remote_code=trust_remote_code
        )
        self._options = (kind, device, use_fp16, cutoff_layer)
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        """``flag_embedding:`` and the model's name."""
        return f"flag_embedding:{self._spec.model}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    def warmup(self) -> None:
        """Load the model and compute once, so that the first search does not wait for it."""
        self.score("warm up", ["warm up"], deadline=Deadline())

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Logits of the documents; a batch that begins before the deadline is computed."""
        pairs = [(valid_unicode(query), valid_unicode(document)) for document in documents]
        # Never in the caller's thread: if that one forks later, torch would wait in the child for
        # threads that it began for it, which only the parent has.
        return in_thread(lambda: self._score(pairs, deadline)).result()

    def _score(self, pairs: Sequence[tuple[str, str]], deadline: Deadline) -> Scores:
        found: list[float | None] = []
        while len(found) < len(pairs) and not deadline.expired:
            model = _load(self._spec, self._options, os.getpid())
            batch = pairs[len(found) : len(found) + self._batch_size]
            scores = model.scores(batch, deadline)
            if scores is None:
                break
            found += scores
        return Scores.from_logits([*found, *[None] * (len(pairs) - len(found))])


class _NoMemory(Exception):
    """Torch's out-of-memory, under a name that the library does not catch."""


class _Failed(Exception):
    """Any other error of the model's, under a name that the library does not catch."""


class _Fenced:
    """One of the library's rerankers; one call at a time, whichever of them it is."""

    def __init__(self, model: Any, options: dict[str, Any]) -> None:
        self._model = model
        self._options = options
        self._budget = Budget(1 << 30)
        self._output: Any = None
        model.model.forward = self._fence(model.model.forward)

    def scores(self, pairs: Sequence[tuple[str, str]], deadline: Deadline) -> list[float] | None:
        """One logit a pair; None where the deadline came before it was this call's turn."""
        turn = _computing
        if not turn.acquire(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX)):
            return None
        try:
            at_once = self._budget.tokens
            parts = [pairs[n : n + at_once] for n in range(0, len(pairs), at_once)]
            return [x for part in parts for x in within(self._budget, self._scored, part, len)]
        finally:
            turn.release()

    def _scored(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        torch = require("torch", "torch")
        # A batch larger than what is given is one batch, without most of the progress bars.
        options = {**self._options, "batch_size": len(pairs) + 1}
        try:
            with _quiet(self._model):
                scores = self._model.compute_score(list(pairs), **options)
        except _NoMemory as error:
            raise torch.OutOfMemoryError(str(error)) from error
        except _Failed as error:
            raise RerankError(f"the model failed: {error}") from error.__cause__
        finally:
            self._output = None
        if isinstance(scores[0], list | tuple):  # one list a layer
            scores = scores[-1]
        return [float(score) for score in scores]

    def _fence(self, forward: Any) -> Any:
        torch = require("torch", "torch")

        def fenced(*args: Any, **kwargs: Any) -> Any:
            if self._output is None:  # else the same batch again, after the library's trial
                try:
                    self._output = forward(*args, **kwargs)
                except torch.OutOfMemoryError as error:
                    raise _NoMemory(str(error)) from error
                except Exception as error:
                    raise _Failed(f"{type(error).__name__}: {error}") from error
            return self._output

        return fenced


@contextmanager
def _quiet(model: Any) -> Iterator[None]:
    """Without the progress bar that the library's decoders draw in every call."""
    module: Any = sys.modules[type(model).__module__]
    drawn = require("tqdm", "flagembedding").trange
    module.trange = partial(drawn, disable=True)
    try:
        yield
    finally:
        module.trange = drawn


_loading = threading.Lock()
_computing = threading.Lock()


def _after_fork_in_child() -> None:
    global _loading, _computing
    _loading, _computing = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):  # no batch is under way in a fork
    os.register_at_fork(
        before=lambda: _computing.acquire(),
        after_in_parent=lambda: _computing.release(),
        after_in_child=_after_fork_in_child,
    )


def _load(spec: Spec, options: tuple[Any, ...], process: int) -> _Fenced:
    with _loading:
        return _loaded(spec, options, process)


@lru_cache(maxsize=8)
def _loaded(spec: Spec, options: tuple[Any, ...], _process: int) -> _Fenced:
    with fork_guard.loading():
        return _made(spec, options)


def _made(spec: Spec, options: tuple[Any, ...]) -> _Fenced:
    library = require("FlagEmbedding", "flagembedding")
    from vecdb_rerank.torch_engine.checkpoints import licences, loading

    kind, device, use_fp16, cutoff_layer = options
    folder = loading.find(spec)
    described = loading.describe(folder)
    if kind == "layerwise":
        _check_layers(described, cutoff_layer)
    loading.check_code(spec, folder)
    licences.tell(spec.model, folder)
    reranker = getattr(library, _CLASSES[kind])
    with loading.explained(spec):
        model = reranker(
            str(folder),
            devices=reranker.get_target_devices(device)[:1],
            use_fp16=use_fp16 or kind == "layerwise",
            max_length=spec.max_length,
            trust_remote_code=spec.trust_remote_code,
        )
    layers = {"cutoff_layers": [cutoff_layer]} if cutoff_layer is not None else {}
    return _Fenced(model, layers)


def _check_layers(described: Mapping[str, Any], cutoff_layer: int | None) -> None:
    if described.get("model_type") == "minicpm":
        version = require("transformers", "torch").__version__
        raise ConfigurationError(
            "model",
            "FlagEmbedding's layerwise MiniCPM does not run on transformers "
            f"{version}; take another model, such as BAAI/bge-reranker-v2-gemma "
            "(type = 'cross_encoder', prompt = 'gemma'), or serve this one behind type = 'http' "
            "from an environment of its own with transformers 4.44",
        )
    first, last = described.get("start_layer", 1), described.get("num_hidden_layers", cutoff_layer)
    if cutoff_layer is not None and not first <= cutoff_layer <= last:
        raise ConfigurationError(
            "cutoff_layer", f"{cutoff_layer} is none of the model's layers, {first} to {last}"
        )
