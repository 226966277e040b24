"""What differs between the models that can be packed: first position, pooling, head.

Each of these is tested to give the scores of its padded forward. Any other model is computed as
it is, padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vecdb_rerank.torch_engine.compute.layout import Layout

Pooling = Literal["first", "last", "mean"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a family of models reads a packed sequence.

    ``pooling`` says which rows of the last hidden state, (documents, width), its ``head`` makes
    logits of; ``offset`` is the position id of a document's first token.
    """

    head: Callable[[Any, Tensor], Tensor]
    pooling: Callable[[Any], Pooling]
    offset: Callable[[Any], int] = lambda _: 0


def pooled(hidden: Tensor, layout: Layout, pooling: Pooling) -> Tensor:
    """(documents, width) of the packed last hidden state, (tokens, width)."""
    if pooling == "first":
        return hidden[layout.first]
    if pooling == "last":
        return hidden[layout.last]
    return torch.stack([rows.float().mean(0) for rows in layout.split(hidden)])


def _bert(model: Any, rows: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.bert.pooler(rows[:, None]))
    return logits


def _roberta(model: Any, rows: Tensor) -> Tensor:
    logits: Tensor = model.classifier(rows[:, None])
    return logits


def _modernbert(model: Any, rows: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.head(rows))
    return logits


def _modernbert_pooling(config: Any) -> Pooling:
    return "mean" if config.classifier_pooling == "mean" else "first"


def _scored(model: Any, rows: Tensor) -> Tensor:
    logits: Tensor = model.score(rows)
    return logits


_BERT = Architecture(_bert, lambda _: "first")
_ROBERTA = Architecture(_roberta, lambda _: "first", lambda config: config.pad_token_id + 1)
_DECODER = Architecture(_scored, lambda _: "last")

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


def positions(config: Any) -> int | None:
    """The most tokens a model has positions for; None where it names no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return None
    architecture = PACKED.get(config.model_type)
    return int(limit) - (architecture.offset(config) if architecture else 0)
