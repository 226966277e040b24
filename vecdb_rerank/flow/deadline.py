"""The time limit of a search, created once and passed down."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vecdb_rerank._checks import number


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on the monotonic clock, in seconds; ``math.inf`` is no deadline."""

    ends_at: float = math.inf

    def __post_init__(self) -> None:
        number("ends_at", self.ends_at)

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Return the deadline ``seconds`` from now; None means no deadline."""
        if seconds is None:
            return cls()
        number("seconds", seconds)
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds left, at least 0.0; ``math.inf`` without a deadline."""
        return max(0.0, self.ends_at - time.monotonic())

    def at_most(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and ``seconds`` from now."""
        return Deadline(min(self.ends_at, time.monotonic() + seconds))

    def reserving_for(self, needs: Sequence[float | None]) -> Deadline:
        """Return an earlier deadline that leaves time for the steps after this one.

        ``needs`` are the seconds that each later step needs. A step is reserved what it needs, but
        at least a twentieth of the time left; if its need is unknown (None), a quarter. No step is
        reserved more than an even share.
        """
        left = self.remaining()
        if not needs or math.isinf(left):
            return self
        even = left / (len(needs) + 1)
        reserved = (left / 4 if need is None else max(need, left / 20) for need in needs)
        return self.at_most(left - sum(min(seconds, even) for seconds in reserved))

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0
