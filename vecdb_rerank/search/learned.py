"""What a drop-in has found out about a database, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 600.0


class Learned:
    """A set of keys that are forgotten after ``seconds``. Threads and tasks may share it."""

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, key: str) -> None:
        """Remember ``key`` from now on, and forget what has expired."""
        now = self._clock()
        fresh = {known: until for known, until in self._until.items() if until > now}
        self._until = {**fresh, key: now + self._seconds}

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._until.get(key, 0.0) > self._clock()
