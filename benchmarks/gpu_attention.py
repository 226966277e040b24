"""Attention within documents of different lengths, by kernels of torch.

Each maps queries, keys and values, (tokens, heads, width), and the layout of the documents to
(tokens, heads, width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vecdb_rerank.torch_engine.compute.attention import within_documents
from vecdb_rerank.torch_engine.compute.layout import Layout


def varlen(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Flash attention for sequences of different lengths, since torch 2.10."""
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = layout.bounds, layout.longest
    out = varlen_attn(q, k, v, bounds, bounds, longest, longest)
    assert isinstance(out, Tensor)
    return out


def nested(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Torch's attention over nested (jagged) tensors."""
    bounds = layout.bounds.long()
    q, k, v = (torch.nested.nested_tensor_from_jagged(x, bounds).transpose(1, 2) for x in (q, k, v))
    found: Tensor = scaled_dot_product_attention(q, k, v).transpose(1, 2).values()
    return found


def padded(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Torch's attention over padded rows with a mask, including the copies from and to them."""
    lengths = torch.tensor(layout.lengths, device=q.device)
    real = torch.arange(layout.longest, device=q.device) < lengths[:, None]

    def pad(x: Tensor) -> Tensor:
        rows = x.new_zeros(*real.shape, *x.shape[1:])
        rows[real] = x
        return rows.transpose(1, 2)

    out = scaled_dot_product_attention(pad(q), pad(k), pad(v), attn_mask=real[:, None, None])
    return out.transpose(1, 2)[real]


KERNELS: Mapping[str, Callable[[Tensor, Tensor, Tensor, Layout], Tensor]] = {
    "engine": within_documents,
    "varlen_attn": varlen,
    "nested tensors": nested,
    "padded": padded,
}
