"""Documents of one length in a packed sequence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Neighbours that take as many rows, ``room`` each; ``lengths`` are their tokens."""

    start: int
    room: int
    lengths: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many documents."""
        return len(self.lengths)

    @property
    def rows(self) -> slice:
        """Where they are in the sequence."""
        return slice(self.start, self.start + self.count * self.room)
