"""Attention over documents that lie one after another in one sequence, without padding.

It is registered with transformers as an attention implementation, so that the models' own modules
run as they are and only what they call for attention is this. What a layer asks for is honoured:
its scale, causality, sliding window and grouped key heads. `Layout` reaches it as the keyword
argument ``packed`` of the model's forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from vecdb_rerank.errors import ConfigurationError

NAME = "vecdb_rerank_packed"
OPAQUE = f"{NAME}_opaque"
_HALF = (torch.float16, torch.bfloat16)
_PIECE = 1 << 20  # attention weights computed at once: 2 MB in bfloat16, 4 MB in float32


@dataclass(frozen=True)
class Layout:
    """Where documents begin and end in a packed sequence.

    ``lengths`` (tokens, at least 1 each) should be sorted: neighbours of equal length are
    computed together.
    """

    lengths: Sequence[int]
    device: torch.device
    _masks: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    _scratch: list[Tensor] = field(default_factory=list, repr=False)

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """(start, documents, length) of each run of documents of equal length."""
        runs = [(length, len(list(run))) for length, run in groupby(self.lengths)]
        starts = accumulate((length * count for length, count in runs), initial=0)
        return [
            (start, count, length) for start, (length, count) in zip(starts, runs, strict=False)
        ]

    @cached_property
    def bounds(self) -> Tensor:
        """The first token of each document and the end of the last: int32, (documents + 1,)."""
        ends = list(accumulate(self.lengths, initial=0))
        return torch.tensor(ends, dtype=torch.int32, device=self.device)

    @cached_property
    def longest(self) -> int:
        """The tokens of the longest document."""
        return max(self.lengths)

    def mask(self, length: int, window: int | None, causal: bool) -> Tensor | None:
        """Which keys a token of a document sees: (length, length), or None for all of them.

        ``window`` is how many tokens it sees to each side, itself not counted.
        """
        if window is None or window >= length - 1:
            return None
        if (known := self._masks.get((length, window, causal))) is None:
            place = torch.arange(length, device=self.device)
            distance = place[:, None] - place[None, :]
            known = (distance <= window) & (distance >= (0 if causal else -window))
            self._masks[length, window, causal] = known
        return known

    def scratch(self, size: int) -> tuple[Tensor, Tensor]:
        """Room for ``size`` numbers in bfloat16 and float32, the same one in every layer."""
        if not self._scratch or len(self._scratch[0]) < size:
            formats = (torch.bfloat16, torch.float32)
            self._scratch[:] = [torch.empty(max(size, _PIECE), dtype=dtype) for dtype in formats]
        return self._scratch[0][:size], self._scratch[1][:size]


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
        raise ConfigurationError("this model asks for what packed attention does not do")
    window = None if sliding_window is None else sliding_window - 1
    causal = bool(getattr(module, "is_causal", False))
    if query.is_cuda and query.dtype in _HALF:
        return _on_cuda(query, key, value, packed, scaling, window, causal), None
    plain = not causal and window is None and query.shape[1] == key.shape[1]
    if plain and query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return _in_bfloat16(query, key, value, packed, scaling), None
    return _by_group(query, key, value, packed, scaling, window, causal), None


def _by_group(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """One call of torch's attention for all documents of a length."""
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # tokens, heads, width
    out = q.new_empty(q.shape)
    grouped = q.shape[1] != k.shape[1]
    for start, count, length in layout.groups:
        rows = slice(start, start + count * length)
        q_some, k_some, v_some, into = (_documents(x[rows], count) for x in (q, k, v, out))
        mask = layout.mask(length, window, causal)
        attended = scaled_dot_product_attention(
            q_some,
            k_some,
            v_some,
            attn_mask=mask,
            is_causal=causal and mask is None,
            scale=scale,
            enable_gqa=grouped,
        )
        into.copy_(attended)
    return out[None]


def _documents(rows: Tensor, count: int) -> Tensor:
    """(documents x tokens, heads, width) as (documents, heads, tokens, width), not copied."""
    return rows.view(count, -1, *rows.shape[1:]).transpose(1, 2)


def _in_bfloat16(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float | None
) -> Tensor:
    """Plain attention on a CPU in pieces that stay in its caches.

    Products are in bfloat16, which the CPU multiplies by itself, the softmax in float32. On
    documents of 85 to 500 tokens it takes half of the time of torch's own kernel.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    q, k, v = (x[0].transpose(0, 1) for x in (query * scale, key, value))  # tokens, heads, width
    out = q.new_empty(q.shape)
    heads = q.shape[1]
    for start, count, length in layout.groups:
        rows = slice(start, start + count * length)
        parts = [_documents(x[rows], count) for x in (q, k, v, out)]
        documents = max(1, _PIECE // (heads * length * length))
        tokens = min(length, max(1, _PIECE // (heads * length)))
        for n in range(0, count, documents):
            few = slice(n, n + documents)
            q_few, k_few, v_few, out_few = (x[few] for x in parts)
            for first in range(0, length, tokens):
                some = slice(first, first + tokens)
                _piece(q_few[:, :, some], k_few, v_few, layout, out_few[:, :, some])
    return out[None]


def _piece(q: Tensor, k: Tensor, v: Tensor, layout: Layout, out: Tensor) -> None:
    """Attention of (documents, heads, tokens, width) over all ``k`` and ``v``, into ``out``."""
    documents, heads, tokens, width = q.shape
    length = k.shape[2]
    shape = (documents * heads, tokens, length)
    weights, exact = layout.scratch(documents * heads * tokens * length)
    weights, exact = weights.view(shape), exact.view(shape)
    q, k, v = (x.reshape(documents * heads, -1, width) for x in (q, k, v))
    torch.bmm(q, k.transpose(1, 2), out=weights)
    torch.softmax(weights, -1, dtype=torch.float32, out=exact)
    weights.copy_(exact)
    out.copy_(torch.bmm(weights, v).view(documents, heads, tokens, width))


def _on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """One call of the kernel for sequences of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    left = -1 if window is None else window
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    attended: Any = varlen_attn(
        q,
        k,
        v,
        layout.bounds,
        layout.bounds,
        layout.longest,
        layout.longest,
        scale=scale,
        window_size=(left, 0 if causal else left),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    rows: Tensor = attended[None]
    return rows


AttentionInterface.register(NAME, packed_attention)


def register_opaque() -> None:
    """Register it once more, as ``OPAQUE``, for compiled models.

    A compiler does not look inside, else it would compile anew for every layout.
    """
    hide: Any = torch.compiler.disable
    AttentionInterface.register(OPAQUE, hide(packed_attention))
