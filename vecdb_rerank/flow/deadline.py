"""A time budget that is made once per search and passed down, never re-derived."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock (seconds); ``math.inf`` never comes."""

    ends_at: float = math.inf

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline ``seconds`` from now; ``None`` means no deadline."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, at least 0.0; ``math.inf`` without a deadline."""
        return max(0.0, self.ends_at - time.monotonic())

    def at_most(self, seconds: float) -> Deadline:
        """The sooner of this deadline and ``seconds`` from now."""
        return Deadline(min(self.ends_at, time.monotonic() + seconds))

    def reserving_for(self, needs: Sequence[float | None]) -> Deadline:
        """The deadline of one that leaves time to those after it, by what they need (seconds).

        Each of them is kept what it needs (a twentieth of the time left at least), or a quarter
        where that is not known (None); and at most an even share.
        """
        left = self.remaining()
        if not needs or math.isinf(left):
            return self
        even = left / (len(needs) + 1)
        kept = (left / 4 if need is None else max(need, left / 20) for need in needs)
        return self.at_most(left - sum(min(each, even) for each in kept))

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0
