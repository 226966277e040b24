"""What an engine computes with: the loaded model, its tokenizer, its forward pass, its memory."""

from __future__ import annotations

import logging
import threading
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar, cast

import torch
from torch import nn

from vecdb_rerank.tokenization.pairs import Pair, Template
from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.checkpoints import loading
from vecdb_rerank.torch_engine.compute import attention
from vecdb_rerank.torch_engine.compute.architectures import PACKED, supports_packing
from vecdb_rerank.torch_engine.compute.forward import Forward, PackedForward, PaddedForward
from vecdb_rerank.torch_engine.compute.fused_layers import fuse
from vecdb_rerank.torch_engine.compute.int8_linear import quantize_linears
from vecdb_rerank.torch_engine.compute.onednn_linear import pack_linears
from vecdb_rerank.torch_engine.int8_trial import agrees, trial_pairs
from vecdb_rerank.torch_engine.memory import TokenBudget, bytes_per_token, first_budget, run_within
from vecdb_rerank.torch_engine.spec import Spec
from vecdb_rerank.torch_engine.tokens import CachedEncoder

log = logging.getLogger("vecdb_rerank")

R = TypeVar("R")
# Tokens per batch: enough to fill a GPU; on a CPU as many as fit into its caches.
_BATCH_TOKENS = {"cuda": 65_536, "mps": 16_384, "cpu": 2_048}


class Runner(ABC, Generic[R]):
    """A loaded model that computes a result for each pair."""

    encoder: CachedEncoder
    forward: Forward[R]

    def __init__(self, spec: Spec, loaded: loading.Loaded) -> None:
        self.device = loaded.device
        self.dtype = loaded.dtype
        # On a CPU each core computes its own batches. Threads that share a batch would wait for
        # each other after every layer, longer the busier the machine is.
        self.workers = 1 if self.on_gpu else hardware.physical_cores()
        row = 0 if supports_packing(loaded.model) else spec.max_length
        per_token = bytes_per_token(loaded.model.config, loaded.dtype, row)
        free = hardware.free_memory(self.device)
        per_worker = None if free is None else free // self.workers
        limit = spec.batch_tokens or _BATCH_TOKENS[self.device.type]
        self.budget = TokenBudget(first_budget(per_worker, per_token, limit))

    @property
    def on_gpu(self) -> bool:
        """Whether the weights are on a device that a forked process cannot use."""
        return self.device.type != "cpu"

    def compute(self, pairs: Sequence[Pair]) -> list[R]:
        """Return a result for each pair, in order."""
        return run_within(self.budget, self.forward, pairs, self.forward.tokens)

    def prepare_worker(self) -> None:
        """Let the calling thread compute alone if there are several workers.

        `torch.set_num_threads` also sets the default of threads that start later; another thread
        restores that.
        """
        if self.workers > 1:
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            restore = threading.Thread(target=torch.set_num_threads, args=(before,))
            restore.start()
            restore.join()

    def after_fork_in_child(self) -> None:
        """Replace the locks."""
        self.budget.after_fork_in_child()
        self.encoder.cache.after_fork_in_child()


class LogitRunner(Runner[float]):
    """A loaded cross-encoder."""

    def __init__(self, spec: Spec) -> None:
        loaded = loading.load(spec)
        super().__init__(spec, loaded)
        cache_bytes = int(spec.token_cache_mb * 1e6)
        self.encoder = CachedEncoder(
            loaded.tokenizer, loaded.template, spec.max_length, cache_bytes
        )
        pairs = trial_pairs(self.encoder) if loaded.int8 else []
        expected = _plain_forward(loaded, self.budget)(loaded.template)(pairs) if pairs else []
        self.forward = make_forward(spec, loaded, self.budget, first_only=True)(loaded.template)
        if pairs and not agrees(expected, self.forward(pairs)):
            log.warning(
                "%s scores pairs differently in int8, and is computed in float32; set dtype to "
                "'float32' to load it faster",
                spec.model,
            )
            spec = replace(spec, dtype="float32")
            loaded = loading.load(spec)
            self.forward = make_forward(spec, loaded, self.budget, first_only=True)(loaded.template)


def make_forward(
    spec: Spec, loaded: loading.Loaded, budget: TokenBudget, *, first_only: bool
) -> Callable[[Template], PackedForward | PaddedForward]:
    """Prepare the model for fast forward passes; return what makes one for a template.

    With ``first_only``, only the first token of each document is read from the last hidden state.
    """
    model = loaded.model
    if not supports_packing(model):
        return _plain_forward(loaded, budget)
    architecture = PACKED[model.config.model_type]
    body = _prepare_body(spec, loaded, first_only=first_only)
    tiles = hardware.uses_amx(loaded.device, loaded.dtype)
    return lambda template: PackedForward(
        model, template, architecture, loaded.head, body=body, tiles=tiles
    )


def _plain_forward(
    loaded: loading.Loaded, budget: TokenBudget
) -> Callable[[Template], PackedForward | PaddedForward]:
    """Return what makes a forward pass through the model's own modules."""
    model = loaded.model
    if not supports_packing(model):
        return lambda template: PaddedForward(model, template, budget, loaded.head)
    model.set_attn_implementation(attention.NAME)
    architecture = PACKED[model.config.model_type]
    return lambda template: PackedForward(model, template, architecture, loaded.head)


def _prepare_body(spec: Spec, loaded: loading.Loaded, *, first_only: bool) -> nn.Module:
    """Return the model below its head: compiled, or with fused layers or oneDNN's weights."""
    model = loaded.model
    if spec.compile:
        attention.register_opaque()
        model.set_attn_implementation(attention.OPAQUE)
        return cast("nn.Module", torch.compile(model.base_model, dynamic=True))
    model.set_attn_implementation(attention.NAME)
    if loaded.device.type == "cpu":
        fused = spec.fused and fuse(model, first_only=first_only, int8=loaded.int8)
        if not fused:
            (quantize_linears if loaded.int8 else pack_linears)(model.base_model)
    return model.base_model
