"""What a search learned about its database, for the searches after it."""

from __future__ import annotations

import math
import time
from typing import Generic, TypeVar

T = TypeVar("T")

EXPIRES_AFTER = 600.0  # seconds; a server's limits may be raised while we run


class Expiring(Generic[T]):
    """A value that is forgotten after ``expires_after`` seconds; safe under threads."""

    def __init__(self, expires_after: float = EXPIRES_AFTER) -> None:
        self._expires_after = expires_after
        self._held: tuple[float, T | None] = (-math.inf, None)  # replaced as a whole

    def get(self) -> T | None:
        """Return the value; None if nothing is known, or no longer."""
        until, value = self._held
        return value if time.monotonic() < until else None

    def set(self, value: T) -> None:
        """Remember ``value`` from now on."""
        self._held = (time.monotonic() + self._expires_after, value)
