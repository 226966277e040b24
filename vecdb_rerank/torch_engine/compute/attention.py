"""Attention over documents that lie one after another in one sequence, without padding.

It is registered with transformers as an attention implementation, so that the models' own modules
run as they are and only what they call for attention is this. What a layer asks for is honoured:
its scale, causality, sliding window and grouped key heads. `Layout` reaches it as the keyword
argument ``packed`` of the model's forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.compute.group import Group
from vecdb_rerank.torch_engine.compute.layout import Layout

NAME = "vecdb_rerank_packed"
OPAQUE = f"{NAME}_opaque"
_HALF = (torch.float16, torch.bfloat16)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Layout | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each document of ``packed``.

    ``query`` is (1, heads, tokens, width), ``key`` and ``value`` may have fewer heads, in groups.
    ``sliding_window`` counts the token itself, as transformers does. Returns (1, tokens, heads,
    width) and no weights.
    """
    if packed is None or attention_mask is not None or softcap is not None or dropout:
        raise ConfigurationError("model", "asks for what packed attention does not do")
    window = None if sliding_window is None else sliding_window - 1
    causal = bool(getattr(module, "is_causal", False))
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return within_documents(q, k, v, packed, scaling, window, causal)[None], None


def within_documents(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    scale: float | None = None,
    window: int | None = None,
    causal: bool = False,
) -> Tensor:
    """Attention of (tokens, heads, width), by the fastest of the ways that are right here."""
    if layout.seen is not None:
        return _by_group(q, k, v, layout, scale, window, causal)
    if q.is_cuda and q.dtype in _HALF:
        return _on_cuda(q, k, v, layout, scale, window, causal)
    plain = not causal and window is None and q.shape[1] == k.shape[1]
    if plain and not layout.tiles and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return layout.head_major(*q.shape[1:])(q, k, v, scale)
    return _by_group(q, k, v, layout, scale, window, causal)


def _by_group(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """Torch's attention for all documents of as many rows at once."""
    out = q.new_empty(q.shape)
    out[sum(layout.rooms) :] = 0
    grouped = q.shape[1] != k.shape[1]
    for group in layout.groups:
        q_some, k_some, v_some, into = (by_document(x, group) for x in (q, k, v, out))
        for queries, keys, mask in layout.pieces(group, window, causal):
            into[:, :, queries] = scaled_dot_product_attention(
                q_some[:, :, queries],
                k_some[:, :, keys],
                v_some[:, :, keys],
                attn_mask=mask,
                is_causal=causal and mask is None,
                scale=scale,
                enable_gqa=grouped,
            )
    return out


def by_document(x: Tensor, group: Group) -> Tensor:
    """The rows of a group, of (rows, heads, width), as (documents, heads, room, width): a view."""
    return x[group.rows].view(group.count, group.room, *x.shape[1:]).transpose(1, 2)


def _on_cuda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """One call of the kernel for sequences of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    left = -1 if window is None else window
    attended: Any = varlen_attn(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        layout.bounds,
        layout.bounds,
        layout.longest,
        layout.longest,
        scale=scale,
        window_size=(left, 0 if causal else left),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    rows: Tensor = attended
    return rows


AttentionInterface.register(NAME, packed_attention)


def register_opaque() -> None:
    """Register it once more, as ``OPAQUE``, for compiled models.

    A compiler does not look inside, else it would compile anew for every layout.
    """
    hide: Any = torch.compiler.disable
    AttentionInterface.register(OPAQUE, hide(packed_attention))
