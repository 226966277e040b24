"""A time budget that is made once per search and passed down, never re-derived."""

from __future__ import annotations

import math
import time
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

    def capped(self, seconds: float) -> Deadline:
        """The sooner of this deadline and ``seconds`` from now."""
        return Deadline(min(self.ends_at, time.monotonic() + seconds))

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0
