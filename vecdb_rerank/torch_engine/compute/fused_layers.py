"""Layers of BERT, RoBERTa and XLM-RoBERTa in fewer and larger steps, for a CPU.

What a layer computes stays the same: one product for queries, keys and values; GELU and the
residual inside the products that they follow; and of the last layer only what the classifier
reads. Embeddings, pooler and classifier are the model's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vecdb_rerank.torch_engine.compute.attention import by_document, within_documents
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.compute.onednn_linear import PackedLinear, can_pack, is_close

_FAMILY = ("bert", "roberta", "xlm-roberta")
_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}


@torch.inference_mode()
def fuse(model: Any, *, first_only: bool = True) -> bool:
    """Replace the layers of ``model``, on a CPU, where that is known to be exact.

    With ``first_only``, the first row of each document is all that is read of the last one.

    They stay as they are where the first one fused does not give what it gives by itself.
    """
    activation = _ACTIVATIONS.get(getattr(model.config, "hidden_act", ""))
    if model.config.model_type not in _FAMILY or activation is None or not can_pack():
        return False
    layers = model.base_model.encoder.layer
    if not _is_right(layers[0], activation):
        return False
    for n, layer in enumerate(layers):
        layers[n] = FusedLayer(layer, activation, last=first_only and n == len(layers) - 1)
    return True


def _is_right(layer: Any, activation: tuple[str, str]) -> bool:
    """Whether fused layers give what ``layer`` gives, all rows and the first ones."""
    weight = layer.output.dense.weight
    packed = Layout([3, 15, 15], weight.device)
    x = torch.randn(1, packed.rows, len(weight)).to(weight.dtype)
    try:
        expected = layer(x, packed=packed)
        found = [
            FusedLayer(layer, activation, last=last)(x, packed=packed) for last in (False, True)
        ]
    except (RuntimeError, AttributeError):
        return False
    first = packed.first
    return is_close(found[0], expected) and is_close(found[1][:, first], expected[:, first])


class FusedLayer(nn.Module):
    """What ``layer``, an encoder layer of that family, computes of packed documents.

    The ``last`` one computes the first row of each document, which is all that is read of it.
    """

    def __init__(self, layer: Any, activation: tuple[str, str], *, last: bool) -> None:
        super().__init__()
        attention, own = layer.attention, layer.attention.self
        self.heads: int = own.num_attention_heads
        self.scale: float = own.scaling
        self.last = last
        self.query = PackedLinear(own.query) if last else None
        projections = [own.key, own.value] if last else [own.query, own.key, own.value]
        self.project = PackedLinear(*projections)
        self.attended = PackedLinear(attention.output.dense)
        self.inner = PackedLinear(layer.intermediate.dense, activation=activation)
        self.outer = PackedLinear(layer.output.dense)
        self.norms = nn.ModuleList([attention.output.LayerNorm, layer.output.LayerNorm])

    def forward(self, hidden: Tensor, *_: Any, packed: Layout, **__: Any) -> Tensor:
        """(1, tokens, width) to the same; of the last layer's, only the first rows are right."""
        x = hidden[0]
        if self.query is None:
            q, k, v = self._heads(self.project(x), 3)
            rows = self._rest(within_documents(q, k, v, packed, self.scale), x)
            return rows[None]
        first = packed.first
        (q,) = self._heads(self.query(x[first]), 1)
        k, v = self._heads(self.project(x), 2)
        rows = self._rest(_of_first(q, k, v, packed, self.scale), x[first])
        return hidden.index_copy(1, first, rows[None])

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(tokens, parts x width) as so many of (tokens, heads, width of a head)."""
        return projected.view(len(projected), parts, self.heads, -1).unbind(1)

    def _rest(self, attended: Tensor, x: Tensor) -> Tensor:
        """All that follows attention, row by row."""
        first, second = self.norms
        x = first(self.attended(attended.flatten(1), add=x))
        y: Tensor = second(self.outer(self.inner(x), add=x))
        return y


def _of_first(q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> Tensor:
    """Attention of the first token of each document: ``q`` has a row a document."""
    found = []
    place = 0
    for group in layout.groups:
        keys, values = (by_document(rows, group) for rows in (k, v))
        asked = q[place : place + group.count].unsqueeze(2)
        place += group.count
        mask = layout.tokens_of(group)
        attended = scaled_dot_product_attention(asked, keys, values, attn_mask=mask, scale=scale)
        found.append(attended.squeeze(2))
    return torch.cat(found)
