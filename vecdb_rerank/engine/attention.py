"""Attention over documents that lie one after another in one sequence, without padding.

It is registered with transformers as an attention implementation, so that the models' own modules
run as they are and only what they call for attention is this. What a layer asks for is honoured:
its scale, causality, sliding window and grouped key heads. `Layout` reaches it as the keyword
argument ``packed`` of the model's forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from vecdb_rerank.engine.head_major import HeadMajor
from vecdb_rerank.errors import ConfigurationError

NAME = "vecdb_rerank_packed"
OPAQUE = f"{NAME}_opaque"
_PIECE = 512  # tokens of a document computed at once where a window limits what they see
_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Layout:
    """Where documents begin and end in a packed sequence.

    ``lengths`` (tokens, at least 1 each) should be sorted: neighbours of equal length are
    computed together. With ``seen``, only the first so many tokens of each are attended to.
    """

    lengths: Sequence[int]
    device: torch.device
    seen: int | None = None
    _masks: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    _head_major: dict[Any, HeadMajor] = field(default_factory=dict, repr=False)

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

    def pieces(
        self, length: int, window: int | None, causal: bool
    ) -> Iterator[tuple[slice, slice, Tensor | None]]:
        """Which queries of a document are computed at once, the keys they see, and the mask.

        ``window`` is how many tokens a token sees to each side, itself not counted; all see all
        where there is none, and no mask. Where there is one, memory grows with the length and not
        with its square.
        """
        if window is None or window >= length - 1:
            yield slice(0, length), slice(0, self.seen or length), None
            return
        seen = self.seen or length
        for first in range(0, length, _PIECE):
            last = min(first + _PIECE, length)
            low = max(0, first - window)
            high = last if causal else min(length, last + window)
            mask = self._mask(last - first, high - low, first - low, window, causal)
            if seen < high:
                mask = mask & (torch.arange(low, high, device=self.device) < seen)
            yield slice(first, last), slice(low, high), mask

    def _mask(self, rows: int, columns: int, before: int, window: int, causal: bool) -> Tensor:
        """Which keys a query sees, (rows, columns); ``before`` are before the first query."""
        shape = (rows, columns, before, window, causal)
        if (known := self._masks.get(shape)) is None:
            place = torch.arange(max(rows + before, columns), device=self.device)
            distance = place[before : rows + before, None] - place[None, :columns]
            known = (distance <= window) & (distance >= (0 if causal else -window))
            self._masks[shape] = known
        return known

    def head_major(self, heads: int, width: int) -> HeadMajor:
        """Attention in bfloat16 on a CPU, the same one for every layer."""
        if (known := self._head_major.get((heads, width))) is None:
            known = self._head_major[heads, width] = HeadMajor(self.groups, heads, width)
        return known


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
    if plain and q.device.type == "cpu" and q.dtype == torch.bfloat16:
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
    """Torch's attention for all documents of a length at once."""
    out = q.new_empty(q.shape)
    grouped = q.shape[1] != k.shape[1]
    for start, count, length in layout.groups:
        rows = slice(start, start + count * length)
        q_some, k_some, v_some, into = (by_document(x[rows], count) for x in (q, k, v, out))
        for queries, keys, mask in layout.pieces(length, window, causal):
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


def by_document(rows: Tensor, count: int) -> Tensor:
    """(documents x tokens, heads, width) as (documents, heads, tokens, width), not copied."""
    return rows.view(count, -1, *rows.shape[1:]).transpose(1, 2)


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
