"""What differs between the models that can be packed: first position, pooling, head.

Each of these is tested to give the scores of its padded forward pass. Any other model is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from vecdb_rerank.torch_engine.compute.layout import Layout

Pooling = Literal["first", "last", "mean"]
Head: TypeAlias = Callable[[PreTrainedModel, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a family of models reads a packed sequence.

    ``pooling`` names the rows of the last hidden state, (documents, width), from which ``head``
    computes logits. ``offset`` is the position id of a document's first token.
    """

    head: Head
    pooling: Callable[[PreTrainedConfig], Pooling]
    offset: Callable[[PreTrainedConfig], int] = lambda _: 0


def pool(hidden: Tensor, layout: Layout, pooling: Pooling) -> Tensor:
    """Return (documents, width) from the packed last hidden state, (tokens, width)."""
    if pooling == "first":
        return hidden[layout.first]
    if pooling == "last":
        return hidden[layout.last]
    return torch.stack([rows.float().mean(0) for rows in layout.split(hidden)])


def _apply(model: PreTrainedModel, rows: Tensor, *modules: str) -> Tensor:
    """Apply submodules of ``model`` one after another."""
    for name in modules:
        rows = model.get_submodule(name)(rows)
    return rows


def _bert(model: PreTrainedModel, rows: Tensor) -> Tensor:
    return _apply(model, rows[:, None], "bert.pooler", "classifier")


def _roberta(model: PreTrainedModel, rows: Tensor) -> Tensor:
    return _apply(model, rows[:, None], "classifier")


def _modernbert(model: PreTrainedModel, rows: Tensor) -> Tensor:
    return _apply(model, rows, "head", "classifier")


def _modernbert_pooling(config: PreTrainedConfig) -> Pooling:
    return "mean" if config.classifier_pooling == "mean" else "first"


def _decoder(model: PreTrainedModel, rows: Tensor) -> Tensor:
    return _apply(model, rows, "score")


_BERT = Architecture(_bert, lambda _: "first")
_ROBERTA = Architecture(_roberta, lambda _: "first", lambda config: config.pad_token_id + 1)
_DECODER = Architecture(_decoder, lambda _: "last")

PACKED: Mapping[str, Architecture] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "modernbert": Architecture(_modernbert, _modernbert_pooling),
    "gemma": _DECODER,
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
}


def supports_packing(model: PreTrainedModel) -> bool:
    """Check whether the model is known to compute packed documents correctly.

    Code that comes with a model may call itself ``bert`` and be something else.
    """
    own_class = type(model).__module__.startswith("transformers.models.")
    known = own_class and model.config.model_type in PACKED
    return known and getattr(model.config, "attn_logit_softcapping", None) is None


def max_positions(config: PreTrainedConfig) -> int | None:
    """Return how many tokens a model has positions for, or None if its config has no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return None
    architecture = PACKED.get(config.model_type)
    return int(limit) - (architecture.offset(config) if architecture else 0)
