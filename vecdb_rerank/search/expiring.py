"""What a search learned about its database, for the searches after it."""

from __future__ import annotations

from typing import Generic, TypeVar

from vecdb_rerank.search.learned import SECONDS, Learned

T = TypeVar("T")


class Expiring(Generic[T]):
    """One value that is forgotten after ``seconds``: `Learned` without keys."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._held: Learned[T] = Learned(seconds)

    def get(self) -> T | None:
        """Return the value; None if nothing is known, or no longer."""
        return self._held.get("")

    def set(self, value: T) -> None:
        """Remember ``value`` from now on."""
        self._held.set("", value)
