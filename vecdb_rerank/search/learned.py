"""What was found out about a database, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

SECONDS = 600.0  # a server's limits may be raised while we run


class Learned(Generic[T]):
    """Values by key that are forgotten after ``seconds``. Threads and tasks may share it."""

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._held: dict[str, tuple[float, T]] = {}

    def set(self, key: str, value: T) -> None:
        """Remember the value of ``key`` from now on, and forget what has expired."""
        now = self._clock()
        fresh = {known: held for known, held in self._held.items() if held[0] > now}
        self._held = {**fresh, key: (now + self._seconds, value)}

    def get(self, key: str) -> T | None:
        """Return the value of ``key``; None if nothing is known, or no longer."""
        held = self._held.get(key)
        return held[1] if held is not None and held[0] > self._clock() else None
