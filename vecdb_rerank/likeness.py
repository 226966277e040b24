"""How much texts resemble each other: the cosine of their words, by TF-IDF among themselves.

A search has a millisecond for all of its texts, so they are read in whole arrays: a character is a
byte, and a word the number that its first seven bytes make.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MOST = 128  # texts that can be compared: a term is 7 bytes of a word and 7 bits of a text's number
_ROW_BITS = 7
_CHARACTERS = 2_000  # read of a text: about as much as a reranker reads
_SHORTEST, _STEM = (
    2,
    7,
)  # letters of a word at least, and those that count: inflections fall together
# Multiplications that OpenBLAS does in one thread. More of them it shares out, and threads that
# wait for each other on busy cores take ten times as long as one.
_ALONE = 65_536 * 4


@lru_cache(maxsize=16)  # further pages of a search, and tuning, ask for the same again
def likeness(texts: tuple[str, ...]) -> Array:
    """The cosine (0 to 1) of every two of up to 128 texts, as a square matrix in float32.

    Read are the first 2,000 characters of a text and the first seven letters or digits of a word,
    whatever their case.
    """
    import numpy as np

    n = len(texts)
    term, times = np.unique(_terms(texts), return_counts=True)
    word, row = term >> _ROW_BITS, term & (MOST - 1)
    column = np.cumsum(np.diff(word, prepend=-1) != 0) - 1
    holders = np.bincount(column)
    weight = (1 + np.log(times)) * np.log(n / holders)[column]
    length = np.sqrt(np.bincount(row, weight**2, minlength=n))
    shared = holders > 1
    kept = shared[column] & (weight > 0)
    row, column = row[kept], (np.cumsum(shared) - 1)[column[kept]]
    vectors = np.zeros((n, np.count_nonzero(shared)), np.float32)
    vectors[row, column] = weight[kept] / length[row]
    alike = _products(vectors)
    alike.setflags(write=False)
    return alike


def _terms(texts: Sequence[str]) -> Array:
    """The words of all texts, each as one number with that of its text."""
    import numpy as np

    # UTF-16: one number a letter, in all but the rarest scripts. Zeros end the last word of a text.
    parts = [text[:_CHARACTERS].encode("utf-16-le", "surrogatepass") + b"\0\0" for text in texts]
    units = np.frombuffer(b"".join(parts), "<u2")
    padded = np.zeros(len(units) + 8, np.uint8)
    _letters().take(units, out=padded[1:-7])
    edges = np.flatnonzero((padded[1:] != 0) != (padded[:-1] != 0))
    start, length = edges[::2], edges[1::2] - edges[::2]
    bounds = np.cumsum([len(part) // 2 for part in parts])
    row = np.repeat(np.arange(len(texts)), np.diff(np.searchsorted(start, bounds), prepend=0))
    is_word = length >= _SHORTEST
    start, length, row = start[is_word] + 1, length[is_word], row[is_word]
    every_seven = np.ndarray((len(padded) - 7,), "<i8", padded.data, strides=(1,))
    stem = every_seven[start] & ((1 << 8 * np.minimum(length, _STEM)) - 1)
    terms: Array = stem << _ROW_BITS | row
    return terms


@lru_cache(maxsize=1)
def _letters() -> Array:
    """A byte (1 to 255) for each letter and digit of UTF-16, the same for both cases; 0 for others.

    Letters of one alphabet differ; few of two alphabets are the same.
    """
    import numpy as np

    characters = list(map(chr, range(1 << 16)))
    small = np.array(list(map(str.lower, characters)), "U1").view(np.uint32)
    return np.where(list(map(str.isalnum, characters)), 1 + small % 255, 0).astype(np.uint8)


def _products(vectors: Array) -> Array:
    """All products of two rows, some columns at a time."""
    import numpy as np

    n, width = vectors.shape
    piece = max(1, _ALONE // max(1, n**2))
    found = np.zeros((n, n), np.float32)
    for start in range(0, width, piece):
        part = vectors[:, start : start + piece]
        found += part @ part.T
    return found
