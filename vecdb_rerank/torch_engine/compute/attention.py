"""Attention over documents that follow each other in one sequence, without padding.

It is registered with transformers as an attention implementation, so that the models' own modules
run unchanged and call it for attention. It supports scaling, causality, sliding windows and grouped
key heads. The `Layout` is passed as the keyword argument ``packed`` of the model's forward.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.compute.group import Group
from vecdb_rerank.torch_engine.compute.layout import Layout

NAME = "vecdb_rerank_packed"
OPAQUE = f"{NAME}_opaque"
_HALF = (torch.float16, torch.bfloat16)


def _has_varlen() -> bool:
    """Check whether torch has the kernel for sequences of different lengths, and what we ask of it.

    Versions before 2.11 do not; their calls on CUDA take one step for each length.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"scale", "window_size"} <= inspect.signature(varlen_attn).parameters.keys()


_VARLEN = _has_varlen()


def packed_attention(
    module: nn.Module,
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
    **_: object,
) -> tuple[Tensor, None]:
    """Attend within each document of ``packed``.

    ``query`` is (1, heads, tokens, width); ``key`` and ``value`` may have fewer heads, in groups.
    ``sliding_window`` includes the token itself, as in transformers. Returns (1, tokens, heads,
    width) and no weights. Raises `ConfigurationError` for options that it does not support.
    """
    if packed is None or attention_mask is not None or softcap is not None or dropout:
        raise ConfigurationError("model", "needs an option that packed attention does not support")
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
    """Attend in (tokens, heads, width) with the fastest implementation for the inputs."""
    if layout.visible is not None:
        return _by_group(q, k, v, layout, scale, window, causal)
    if q.is_cuda and q.dtype in _HALF and _VARLEN:
        return _on_cuda(q, k, v, layout, scale, window, causal)
    plain = not causal and window is None and q.shape[1] == k.shape[1]
    if plain and not layout.tiles and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return layout.bf16_attention(*q.shape[1:])(q, k, v, scale)
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
    """Call torch's attention once for each group of documents of one length."""
    out = q.new_empty(q.shape)
    out[sum(layout.heights) :] = 0
    grouped = q.shape[1] != k.shape[1]
    for group in layout.groups:
        q_group, k_group, v_group, out_group = (by_document(x, group) for x in (q, k, v, out))
        for queries, keys, mask in layout.blocks(group, window, causal):
            out_group[:, :, queries] = scaled_dot_product_attention(
                q_group[:, :, queries],
                k_group[:, :, keys],
                v_group[:, :, keys],
                attn_mask=mask,
                is_causal=causal and mask is None,
                scale=scale,
                enable_gqa=grouped,
            )
    return out


def by_document(x: Tensor, group: Group) -> Tensor:
    """Return a view of a group's rows, (rows, heads, width), as (documents, heads, rows, width)."""
    return x[group.rows].view(group.count, group.height, *x.shape[1:]).transpose(1, 2)


def _on_cuda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """Call the CUDA kernel for sequences of different lengths once."""
    from torch.nn.attention.varlen import varlen_attn

    left = -1 if window is None else window
    grouped = q.shape[1] != k.shape[1]
    attend = partial(varlen_attn, enable_gqa=True) if grouped else varlen_attn
    out = attend(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        layout.bounds,
        layout.bounds,
        layout.longest,
        layout.longest,
        scale=scale,
        window_size=(left, 0 if causal else left),
    )
    return cast("Tensor", out)  # a tuple only if the weights are returned too


AttentionInterface.register(NAME, packed_attention)


def register_opaque() -> None:
    """Register it also as ``OPAQUE``, for compiled models.

    The compiler treats it as a black box; otherwise it would recompile for every layout.
    """
    opaque = torch.compiler.disable(packed_attention)  # type: ignore[no-untyped-call]
    AttentionInterface.register(OPAQUE, opaque)
