"""A cache that forgets what was used longest ago, bounded by size and safe under threads."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")
_ENTRY = 200  # bytes that a key, its place in the table and the two links take, about


def digest(text: str) -> bytes:
    """16 bytes that stand for ``text``: two texts share them by accident once in 2^64 or so."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class LruCache(Generic[V]):
    """Values by key, at most ``capacity`` bytes of them; 0 keeps nothing.

    ``size`` says how many bytes a value takes, beside what every entry takes.
    """

    def __init__(self, capacity: int, size: Callable[[V], int] = lambda _: 0) -> None:
        self.capacity = capacity
        self._size = size
        self._used = 0
        self._items: OrderedDict[bytes, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def used(self) -> int:
        """Bytes that are kept, at most ``capacity``."""
        return self._used

    def get(self, keys: Sequence[bytes]) -> list[V | None]:
        """What is kept under each key; None where nothing is."""
        with self._lock:
            found = [self._items.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    self._items.move_to_end(key)
        return found

    def put(self, entries: Iterable[tuple[bytes, V]]) -> None:
        """Keep each value under its key, and forget the oldest ones for it."""
        if not self.capacity:
            return
        with self._lock:
            for key, value in entries:
                if (replaced := self._items.pop(key, None)) is not None:
                    self._used -= self._cost(replaced)
                self._items[key] = value
                self._used += self._cost(value)
            while self._used > self.capacity:
                self._used -= self._cost(self._items.popitem(last=False)[1])

    def after_fork(self) -> None:
        """In a forked child: the lock may be held by a thread that only the parent has."""
        self._lock = threading.Lock()

    def _cost(self, value: V) -> int:
        return _ENTRY + self._size(value)
