"""What an engine computes with: the loaded model, its tokens, its forward, its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.checkpoints import loading
from vecdb_rerank.torch_engine.compute import attention
from vecdb_rerank.torch_engine.compute.architectures import PACKED
from vecdb_rerank.torch_engine.compute.fused_layers import fuse
from vecdb_rerank.torch_engine.compute.onednn_linear import pack
from vecdb_rerank.torch_engine.compute.packing import Forward, Packed, Padded
from vecdb_rerank.torch_engine.memory import Budget, bytes_per_token, first_budget, within
from vecdb_rerank.torch_engine.spec import Spec
from vecdb_rerank.torch_engine.tokens import Pair, Template, Tokens

# Tokens per batch: on a GPU what fills it; on a CPU what stays in its caches.
_MOST = {"cuda": 65_536, "mps": 16_384, "cpu": 2_048}


class Runner:
    """A loaded model that makes logits of pairs."""

    def __init__(self, spec: Spec) -> None:
        loaded = self._loaded(spec)
        self.device = loaded.device
        self.dtype = loaded.dtype
        # On a CPU each core computes batches of its own: threads that share one wait for each
        # other after every layer, the longer the busier the machine is.
        self.workers = 1 if self.on_gpu else hardware.physical_cores()
        self.tokens = self._tokens(spec, loaded)
        packs = is_packed(loaded.model)
        per_token = bytes_per_token(
            loaded.model.config, loaded.dtype, 0 if packs else spec.max_length
        )
        most = spec.batch_tokens or _MOST[self.device.type]
        free = hardware.free_memory(self.device)
        each = None if free is None else free // self.workers
        self.budget = Budget(first_budget(each, per_token, most))
        self.forward = self._forward(spec, loaded)

    def _loaded(self, spec: Spec) -> loading.Loaded:
        return loading.load(spec)

    def _tokens(self, spec: Spec, loaded: loading.Loaded) -> Tokens:
        size = int(spec.token_cache_mb * 1e6)
        return Tokens(loaded.tokenizer, loaded.template, spec.max_length, size)

    def _forward(self, spec: Spec, loaded: loading.Loaded) -> Forward:
        return computing(spec, loaded, self.budget)(loaded.template)

    @property
    def on_gpu(self) -> bool:
        """Whether the weights are on a device that a forked process cannot use."""
        return self.device.type != "cpu"

    def compute(self, pairs: Sequence[Pair]) -> list[Any]:
        """One number a pair, in their order."""
        return within(self.budget, self.forward, pairs, self.forward.tokens)

    def prepare_worker(self) -> None:
        """Called by a worker when it begins: one of several computes in its own thread alone.

        The number is torch's own for a thread, and for all that come later; another thread puts
        back what those begin with.
        """
        if self.workers > 1:
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            restore = threading.Thread(target=torch.set_num_threads, args=(before,))
            restore.start()
            restore.join()

    def after_fork(self) -> None:
        """In a forked child: locks of its own."""
        self.budget.after_fork()
        self.tokens.cache.after_fork()


def is_packed(model: Any) -> bool:
    """Whether the model is one of those that are known to be right when packed.

    Code that comes with a model may call itself ``bert`` and be something else.
    """
    own = type(model).__module__.startswith("transformers.models.")
    known = own and model.config.model_type in PACKED
    return known and getattr(model.config, "attn_logit_softcapping", None) is None


def computing(
    spec: Spec, loaded: loading.Loaded, budget: Budget
) -> Callable[[Template], Packed | Padded]:
    """What makes a forward for a template, of a model as fast as it is known to stay right."""
    model = loaded.model
    if not is_packed(model):
        return lambda template: Padded(model, template, budget, loaded.head)
    architecture = PACKED[model.config.model_type]
    body = _body(spec, loaded)
    tiles = hardware.multiplies_tiles(loaded.device, loaded.dtype)
    return lambda template: Packed(
        model, template, architecture, loaded.head, body=body, tiles=tiles
    )


def _body(spec: Spec, loaded: loading.Loaded) -> Callable[..., Any]:
    """The model below its head, compiled or with its layers fused or laid out anew."""
    model = loaded.model
    if spec.compile:
        attention.register_opaque()
        model.set_attn_implementation(attention.OPAQUE)
        compiled: Callable[..., Any] = torch.compile(model.base_model, dynamic=True)
        return compiled
    model.set_attn_implementation(attention.NAME)
    if loaded.device.type == "cpu":
        fused = spec.fused and fuse(model, first_only=not spec.headless)
        if not fused:
            pack(model.base_model)
    body: Callable[..., Any] = model.base_model
    return body
