"""Layers of BERT, RoBERTa and XLM-RoBERTa in fewer and larger steps, for a CPU.

Queries, keys and values are one product. Activation and residual are computed inside the products
that they follow. The last layer computes only the rows that the classifier reads. The results stay
the same; embeddings, pooler and classifier are the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

from vecdb_rerank.torch_engine.compute.attention import by_document, within_documents
from vecdb_rerank.torch_engine.compute.int8_linear import Int8Linear, row_blocks
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.compute.onednn_linear import PackedLinear, has_onednn, is_close

EncoderLayer: TypeAlias = BertLayer | RobertaLayer | XLMRobertaLayer
_MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}


@torch.inference_mode()
def fuse(model: PreTrainedModel, *, first_only: bool = True, int8: bool = False) -> bool:
    """Replace the layers of ``model``, on a CPU, by fused ones; return whether they were.

    They are not if the model is of another family, or if the first layer gives another result when
    fused. With ``first_only``, only the first row of each document is read from the last layer.
    With ``int8``, the products are computed in int8.
    """
    activation = _ACTIVATIONS.get(getattr(model.config, "hidden_act", ""))
    if model.config.model_type not in _MODEL_TYPES or activation is None or not has_onednn():
        return False
    layers = cast("nn.ModuleList", model.base_model.get_submodule("encoder.layer"))
    if not _is_exact(cast("EncoderLayer", layers[0]), activation):
        return False
    for n, layer in enumerate(layers):
        last = first_only and n == len(layers) - 1
        layers[n] = FusedLayer(cast("EncoderLayer", layer), activation, last=last, int8=int8)
    return True


def _is_exact(layer: EncoderLayer, activation: tuple[str, str]) -> bool:
    """Check whether fused layers give the result of ``layer``, for all rows and the first ones."""
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
    """Computes what an encoder layer does, on packed documents.

    With ``last``, only the first row of each document.
    """

    def __init__(
        self,
        layer: EncoderLayer,
        activation: tuple[str, str],
        *,
        last: bool,
        int8: bool = False,
    ) -> None:
        super().__init__()
        linear = Int8Linear if int8 else PackedLinear
        attention = layer.attention
        own = attention.self
        self.heads: int = own.num_attention_heads
        self.scale: float = own.scaling
        self.last = last
        self.query = linear(own.query) if last else None
        projections = [own.key, own.value] if last else [own.query, own.key, own.value]
        self.project = linear(*projections)
        self.attended = linear(attention.output.dense)
        self.inner = linear(layer.intermediate.dense, activation=activation)
        self.outer = linear(layer.output.dense)
        self.norms = nn.ModuleList([attention.output.LayerNorm, layer.output.LayerNorm])
        self.blocks = row_blocks if int8 else _all_rows

    def forward(self, hidden: Tensor, *_: object, packed: Layout, **__: object) -> Tensor:
        """Map (1, tokens, width) to the same; with ``last``, only first rows are computed."""
        x = hidden[0]
        if self.query is None:
            q, k, v = self._heads(self.project(x), 3)
            rows = self._after_attention(within_documents(q, k, v, packed, self.scale), x)
            return rows[None]
        first = packed.first
        (q,) = self._heads(self.query(x[first]), 1)
        k, v = self._heads(self.project(x), 2)
        rows = self._after_attention(_first_token_attention(q, k, v, packed, self.scale), x[first])
        return hidden.index_copy(1, first, rows[None])

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Split (tokens, parts * width) into ``parts`` of (tokens, heads, width per head)."""
        return projected.view(len(projected), parts, self.heads, -1).unbind(1)

    def _after_attention(self, attended: Tensor, x: Tensor) -> Tensor:
        """Compute the rest of the layer, which treats rows independently."""
        attended = attended.flatten(1)
        first, second = self.norms
        found = torch.empty_like(x)
        for rows in self.blocks(len(x)):
            y = first(self.attended(attended[rows], add=x[rows]))
            found[rows] = second(self.outer(self.inner(y), add=y))
        return found


def _all_rows(count: int) -> Sequence[slice]:
    return [slice(count)]


def _first_token_attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> Tensor:
    """Attend from the first token of each document; ``q`` has one row per document."""
    found = []
    start = 0
    for group in layout.groups:
        keys, values = (by_document(rows, group) for rows in (k, v))
        queries = q[start : start + group.count].unsqueeze(2)
        start += group.count
        mask = layout.token_mask(group)
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        found.append(attended.squeeze(2))
    return torch.cat(found)
