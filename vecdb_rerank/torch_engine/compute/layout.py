"""Where documents lie in a packed sequence, and which rows of it a token may attend to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vecdb_rerank.torch_engine.compute.bf16_attention import Bf16Attention
from vecdb_rerank.torch_engine.compute.group import Group

if TYPE_CHECKING:
    import numpy.typing as npt

N = TypeVar("N", bound=np.generic)
_TILE = 16  # rows of a matrix that AMX multiplies at once
_PIECE = 512  # tokens of a document computed at once where a window limits what they see


@dataclass(frozen=True)
class Layout:
    """Documents one after another in one sequence.

    ``lengths`` (tokens, at least 1 each) should be sorted: neighbours that take as many rows are
    computed together. With ``seen``, only the first so many tokens of each are attended to.

    With ``tiles``, documents begin at multiples of 16 rows, and the sequence has one of few
    numbers of rows: attention on AMX takes half of the time so, and oneDNN makes its kernels anew
    for each number of rows (20 to 30 ms for a MiniLM). Rows that are no tokens are computed, and
    never attended to or read.
    """

    lengths: Sequence[int]
    device: torch.device
    seen: int | None = None
    tiles: bool = False
    _masks: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    _head_major: dict[Any, Bf16Attention] = field(default_factory=dict, repr=False)

    @cached_property
    def rooms(self) -> list[int]:
        """The rows that each document takes."""
        return [_multiple(length, _TILE if self.tiles else 1) for length in self.lengths]

    @cached_property
    def rows(self) -> int:
        """The rows of the whole sequence."""
        taken = sum(self.rooms)
        if not self.tiles:
            return taken
        sixteenth = 2 ** (taken.bit_length() - 5)  # of the power of two below
        return _multiple(taken, max(_TILE, sixteenth))

    @cached_property
    def groups(self) -> list[Group]:
        """Runs of documents that take as many rows."""
        found = []
        start = 0
        for room, run in groupby(zip(self.rooms, self.lengths, strict=True), key=lambda d: d[0]):
            found.append(Group(start, room, tuple(length for _, length in run)))
            start = found[-1].rows.stop
        return found

    @cached_property
    def bounds(self) -> Tensor:
        """The first row of each document and the end of the last: int32, (documents + 1,)."""
        ends = list(accumulate(self.rooms, initial=0))
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
        """The tokens of the longest document."""
        return max(self.lengths)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """In its document, the place of each token, one document after another."""
        lengths = np.array(self.lengths)
        return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)

    def spread(self, values: npt.NDArray[N], fill: int = 0) -> npt.NDArray[N]:
        """A value for each row, of ``values`` for each token; ``fill`` where there is none."""
        if self.rows == len(values):
            return values
        starts = np.cumsum([0, *self.rooms[:-1]])
        found = np.full(self.rows, fill, values.dtype)
        found[np.repeat(starts, self.lengths) + self.places] = values
        return found

    def split(self, rows: Tensor) -> list[Tensor]:
        """The tokens' rows of each document."""
        parts = torch.split(rows[: sum(self.rooms)], self.rooms)
        return [part[:length] for part, length in zip(parts, self.lengths, strict=True)]

    def tokens_of(self, group: Group) -> Tensor | None:
        """Which rows of a group are tokens, (documents, 1, 1, room); None where all are."""
        if min(group.lengths) == group.room:
            return None
        if (known := self._masks.get(group)) is None:
            lengths = torch.tensor(group.lengths, device=self.device)
            known = torch.arange(group.room, device=self.device) < lengths[:, None, None, None]
            self._masks[group] = known
        return known

    def pieces(
        self, group: Group, window: int | None, causal: bool
    ) -> Iterator[tuple[slice, slice, Tensor | None]]:
        """Which queries of its documents are computed at once, the keys they see, and the mask.

        ``window`` is how many tokens a token sees to each side, itself not counted; all see all
        where there is none. Where there is one, memory grows with the length and not with its
        square.
        """
        length = group.room
        seen = self.seen or length
        # what is no token comes after the tokens, where causality hides it
        tokens = None if causal else self.tokens_of(group)
        if window is None or window >= length - 1:
            yield slice(0, length), slice(0, seen), None if tokens is None else tokens[..., :seen]
            return
        for first in range(0, length, _PIECE):
            last = min(first + _PIECE, length)
            low = max(0, first - window)
            high = last if causal else min(length, last + window)
            mask = self._window(last - first, high - low, first - low, window, causal)
            if seen < high:
                mask = mask & (torch.arange(low, high, device=self.device) < seen)
            if tokens is not None:
                mask = mask & tokens[..., low:high]
            yield slice(first, last), slice(low, high), mask

    def _window(self, rows: int, columns: int, before: int, window: int, causal: bool) -> Tensor:
        """Which keys a query sees, (rows, columns); ``before`` are before the first query."""
        shape = (rows, columns, before, window, causal)
        if (known := self._masks.get(shape)) is None:
            place = torch.arange(max(rows + before, columns), device=self.device)
            distance = place[before : rows + before, None] - place[None, :columns]
            known = (distance <= window) & (distance >= (0 if causal else -window))
            self._masks[shape] = known
        return known

    def head_major(self, heads: int, width: int) -> Bf16Attention:
        """Attention in bfloat16 on a CPU, the same one for every layer."""
        if (known := self._head_major.get((heads, width))) is None:
            known = self._head_major[heads, width] = Bf16Attention(self.groups, heads, width)
        return known


def _multiple(number: int, step: int) -> int:
    """The smallest multiple of ``step`` that is not below ``number``."""
    return -(-number // step) * step
