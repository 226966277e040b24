"""Measure payloads, to decide whether those of all candidates should be sent.

A first pass reads ``k`` hits and shows ``limit`` of them. If the payloads of the others, without
the text to rerank, come to a megabyte or more, a second request for those of the page costs less
than they do: a megabyte takes about 10 ms to send and parse at 1 Gbit/s, a second request 1 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vecdb_rerank.request import Search
from vecdb_rerank.search.expiring import Expiring
from vecdb_rerank.text_fields import lookup

Payload = Mapping[str, object] | None

WORTHWHILE = 1_000_000  # bytes that a second request has to save
_MEASURED = 8  # hits of a response
_NUMBER = 8  # bytes of a number, a boolean or null, about


class PayloadSize:
    """The bytes of a hit's payload besides its text; measured anew every ten minutes."""

    def __init__(self) -> None:
        self._bytes: Expiring[float] = Expiring()

    def by_page(self, search: Search) -> bool:
        """Check whether payloads should come for the page alone."""
        if search.payload == "auto":
            left_out = max(0, search.k - search.limit)
            return left_out * (self._bytes.get() or 0.0) >= WORTHWHILE
        return search.payload == "page"

    def measure(self, payloads: Sequence[Payload], paths: Sequence[str]) -> None:
        """Measure whole payloads, unless that was done lately; ``paths`` are those of the text."""
        if self._bytes.get() is None and payloads:
            sizes = [_rest(payload or {}, paths) for payload in payloads[:_MEASURED]]
            self._bytes.set(sum(sizes) / len(sizes))


def _rest(payload: Mapping[str, object], paths: Sequence[str]) -> int:
    return max(0, _size(payload) - sum(_size(_stored(payload, path)) for path in paths))


def _stored(payload: Mapping[str, object], path: str) -> object:
    """Return what has to be sent for a path: all of a string, even if it holds JSON."""
    head, dot, rest = path.partition(".")
    while dot and path not in payload:
        if isinstance(held := lookup(payload, head), str):
            return held
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return lookup(payload, path)


def _size(value: object) -> int:
    """Return about how many bytes a value takes as JSON."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, Mapping):
        return sum(_size(str(key)) + _size(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return _NUMBER
