"""The rows of documents in a packed sequence, and the rows that each token may attend to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from vecdb_rerank.torch_engine.compute.bf16_attention import Bf16Attention
from vecdb_rerank.torch_engine.compute.group import Group

if TYPE_CHECKING:
    import numpy.typing as npt

N = TypeVar("N", bound=np.generic)
_TILE = 16  # rows of a matrix that AMX multiplies at once
_BLOCK = 512  # queries computed at once if a window limits the keys that they attend to


@dataclass(frozen=True)
class Layout:
    """Documents one after another in one sequence.

    ``lengths`` (tokens, at least 1 each) should be sorted, because neighbours of one length are
    computed together. If ``visible`` is given, only that many first tokens of each document are
    attended to.

    With ``tiles``, documents start at multiples of 16 rows, and the number of rows is one of a few.
    This halves the time of attention on AMX, and saves oneDNN from building new kernels for each
    number of rows (20 to 30 ms for a MiniLM). The padding rows are computed but never attended to
    or read.
    """

    lengths: Sequence[int]
    device: torch.device
    visible: int | None = None
    tiles: bool = False
    _token_masks: dict[Group, Tensor] = field(default_factory=dict, repr=False)
    _windows: dict[tuple[int, ...], Tensor] = field(default_factory=dict, repr=False)
    _bf16: dict[tuple[int, int], Bf16Attention] = field(default_factory=dict, repr=False)

    @cached_property
    def heights(self) -> list[int]:
        """The number of rows of each document."""
        return [_multiple(length, _TILE if self.tiles else 1) for length in self.lengths]

    @cached_property
    def rows(self) -> int:
        """The number of rows of the whole sequence."""
        taken = sum(self.heights)
        if not self.tiles:
            return taken
        step = 2 ** (taken.bit_length() - 5)  # a sixteenth of the next lower power of two
        return _multiple(taken, max(_TILE, step))

    @cached_property
    def groups(self) -> list[Group]:
        """The runs of documents with the same number of rows."""
        found = []
        start = 0
        for height, run in groupby(
            zip(self.heights, self.lengths, strict=True), key=lambda d: d[0]
        ):
            found.append(Group(start, height, tuple(length for _, length in run)))
            start = found[-1].rows.stop
        return found

    @cached_property
    def bounds(self) -> Tensor:
        """The first row of each document and the end of the last, int32, (documents + 1,)."""
        ends = list(accumulate(self.heights, initial=0))
        return torch.tensor(ends, dtype=torch.int32, device=self.device)

    @cached_property
    def first(self) -> Tensor:
        """The row of each document's first token, (documents,)."""
        return self.bounds[:-1].long()

    @cached_property
    def last(self) -> Tensor:
        """The row of each document's last token, (documents,)."""
        return self.first + torch.tensor(self.lengths, device=self.device) - 1

    @cached_property
    def longest(self) -> int:
        """The number of tokens of the longest document."""
        return max(self.lengths)

    @cached_property
    def token_positions(self) -> npt.NDArray[np.int64]:
        """The position of each token in its document, documents concatenated."""
        lengths = np.array(self.lengths)
        return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)

    def scatter(self, values: npt.NDArray[N], fill: int = 0) -> npt.NDArray[N]:
        """Return a value per row from ``values`` per token; padding rows get ``fill``."""
        if self.rows == len(values):
            return values
        starts = np.cumsum([0, *self.heights[:-1]])
        found = np.full(self.rows, fill, values.dtype)
        found[np.repeat(starts, self.lengths) + self.token_positions] = values
        return found

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return the token rows of each document."""
        parts = torch.split(rows[: sum(self.heights)], self.heights)
        return [part[:length] for part, length in zip(parts, self.lengths, strict=True)]

    def token_mask(self, group: Group) -> Tensor | None:
        """Return which rows of a group are tokens, (documents, 1, 1, rows); None if all are."""
        if min(group.lengths) == group.height:
            return None
        if (known := self._token_masks.get(group)) is None:
            lengths = torch.tensor(group.lengths, device=self.device)
            known = torch.arange(group.height, device=self.device) < lengths[:, None, None, None]
            self._token_masks[group] = known
        return known

    def blocks(
        self, group: Group, window: int | None, causal: bool
    ) -> Iterator[tuple[slice, slice, Tensor | None]]:
        """Yield blocks of a group's queries, the keys that they attend to, and the mask.

        ``window`` is the number of tokens to each side that a token attends to, itself not
        counted; None is all of them. With a window, memory grows linearly with the length.
        """
        length = group.height
        visible = self.visible or length
        # padding follows the tokens, where causality already hides it
        tokens = None if causal else self.token_mask(group)
        if window is None or window >= length - 1:
            mask = None if tokens is None else tokens[..., :visible]
            yield slice(0, length), slice(0, visible), mask
            return
        for first in range(0, length, _BLOCK):
            last = min(first + _BLOCK, length)
            low = max(0, first - window)
            high = last if causal else min(length, last + window)
            mask = self._window_mask(last - first, high - low, first - low, window, causal)
            if visible < high:
                mask = mask & (torch.arange(low, high, device=self.device) < visible)
            if tokens is not None:
                mask = mask & tokens[..., low:high]
            yield slice(first, last), slice(low, high), mask

    def _window_mask(
        self, rows: int, columns: int, before: int, window: int, causal: bool
    ) -> Tensor:
        """Return which keys each query attends to, (rows, columns).

        ``before`` is the number of keys before the first query.
        """
        shape = (rows, columns, before, window, causal)
        if (known := self._windows.get(shape)) is None:
            position = torch.arange(max(rows + before, columns), device=self.device)
            distance = position[before : rows + before, None] - position[None, :columns]
            known = (distance <= window) & (distance >= (0 if causal else -window))
            self._windows[shape] = known
        return known

    def bf16_attention(self, heads: int, width: int) -> Bf16Attention:
        """Return the attention in bfloat16 on a CPU, which all layers share."""
        if (known := self._bf16.get((heads, width))) is None:
            known = self._bf16[heads, width] = Bf16Attention(self.groups, heads, width)
        return known


def _multiple(number: int, step: int) -> int:
    """Return the smallest multiple of ``step`` that is at least ``number``."""
    return -(-number // step) * step
