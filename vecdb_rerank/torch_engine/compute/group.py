"""Neighbouring documents of one length in a packed sequence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Neighbouring documents that take ``height`` rows each; ``lengths`` are their tokens."""

    start: int
    height: int
    lengths: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of documents."""
        return len(self.lengths)

    @property
    def rows(self) -> slice:
        """The rows of the documents in the sequence."""
        return slice(self.start, self.start + self.count * self.height)
