"""Compute one vector of a text: pool the vectors of its tokens, and apply what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from tokenizers import Tokenizer, normalizers
from torch import Tensor
from torch.nn.functional import gelu, linear, normalize, relu, silu

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import Pair
from vecdb_rerank.torch_engine.checkpoints import loading
from vecdb_rerank.torch_engine.checkpoints.embedding import (
    Activation,
    Dense,
    EmbeddingConfig,
    Pooling,
    Step,
    read_embedding_config,
)
from vecdb_rerank.torch_engine.checkpoints.tensors import read_tensor
from vecdb_rerank.torch_engine.compute.forward import PackedForward, PaddedForward
from vecdb_rerank.torch_engine.runner import Runner, make_forward
from vecdb_rerank.torch_engine.spec import Spec
from vecdb_rerank.torch_engine.tokens import SingleEncoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float32]  # (dimension,)

# From the vectors of a text's tokens, (tokens, width), to one, (width,).
POOLING: Mapping[Pooling, Callable[[Tensor], Tensor]] = {
    "cls": lambda rows: rows[0],
    "max": lambda rows: rows.amax(0),
    "mean": lambda rows: rows.mean(0),
    "mean_sqrt_len_tokens": lambda rows: rows.sum(0) / len(rows) ** 0.5,
    "weightedmean": lambda rows: _positions(rows) @ rows / _positions(rows).sum(),
    "lasttoken": lambda rows: rows[-1],
}
ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "Identity": lambda rows: rows,
    "Tanh": torch.tanh,
    "ReLU": relu,
    "GELU": gelu,
    "SiLU": silu,
}


class EmbeddingRunner(Runner["Array"]):
    """A loaded encoder that computes the unit vector of a text, shape (dimension,)."""

    def __init__(self, spec: Spec) -> None:
        loaded = loading.load(spec)
        if loaded.model.config.is_encoder_decoder:
            raise ConfigurationError("model", "has an encoder and a decoder, which is unsupported")
        super().__init__(spec, loaded)
        config = read_embedding_config(loaded.folder)
        if config.lower_case:
            _lower_case(loaded.tokenizer)
        self.encoder = SingleEncoder(loaded.tokenizer, loaded.template, spec.max_length)
        first_only = config.pooling == ("cls",)
        forward = make_forward(spec, loaded, self.budget, first_only=first_only)
        self.forward = EmbeddingForward(forward(loaded.template), config, loaded.device)


class EmbeddingForward:
    """Computes the vectors of pairs with an empty query."""

    def __init__(
        self,
        tokens: PackedForward | PaddedForward,
        config: EmbeddingConfig,
        device: torch.device,
    ) -> None:
        self._tokens = tokens
        self._pooling = [POOLING[name] for name in config.pooling]
        self._steps = [_step(step, device) for step in config.steps]

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """Return how many tokens are computed for ``pairs``."""
        return self._tokens.tokens(pairs)

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[Array]:
        """Return the unit vector of each pair, on the CPU."""
        vectors = torch.stack([self._pooled(rows) for rows in self._tokens.hidden_states(pairs)])
        for step in self._steps:
            vectors = step(vectors)
        return list(normalize(vectors, dim=-1).cpu().numpy())

    def _pooled(self, rows: Tensor) -> Tensor:
        """Return (width * kinds of pooling,) from the vectors of a text's tokens."""
        return torch.cat([pool(rows.float()) for pool in self._pooling])


def _step(step: Step, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return what a module after the pooling computes, from (texts, width) to (texts, width)."""
    if not isinstance(step, Dense):
        return lambda vectors: normalize(vectors, dim=-1)
    weight, bias = (read_tensor(step.folder, f"linear.{name}") for name in ("weight", "bias"))
    if weight is None:
        raise ConfigurationError("model", f"{step.folder} contains no linear.weight in safetensors")
    on_device = weight.to(device), None if bias is None else bias.to(device)
    activate = ACTIVATIONS[step.activation]
    return lambda vectors: activate(linear(vectors, *on_device))


def _positions(rows: Tensor) -> Tensor:
    """Return the position of each token, from 1, (tokens,)."""
    return torch.arange(1, len(rows) + 1, dtype=rows.dtype, device=rows.device)


def _lower_case(tokenizer: Tokenizer) -> None:
    """Let the tokenizer read texts in lower case."""
    own = tokenizer.normalizer
    steps = [normalizers.Lowercase(), *([] if own is None else [own])]
    tokenizer.normalizer = normalizers.Sequence(steps)
