"""A cache that evicts the least recently used entries, limited by size and safe for threads."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")
_ENTRY_BYTES = 200  # of a key, its slot in the table and the two links, about


def digest(text: str) -> bytes:
    """Return a hash of ``text`` of 16 bytes; about 2^64 texts have to be seen for a collision."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class LruCache(Generic[V]):
    """Values by key, at most ``capacity`` bytes of them; 0 stores nothing.

    ``size`` returns the bytes of a value, without the fixed cost of an entry.
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
        """The bytes in use, at most ``capacity``."""
        return self._used

    def get(self, keys: Sequence[bytes]) -> list[V | None]:
        """Return the value of each key, or None."""
        with self._lock:
            found = [self._items.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    self._items.move_to_end(key)
        return found

    def put(self, entries: Iterable[tuple[bytes, V]]) -> None:
        """Store each value under its key and evict the oldest entries if needed."""
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

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold."""
        self._lock = threading.Lock()

    def _cost(self, value: V) -> int:
        return _ENTRY_BYTES + self._size(value)
