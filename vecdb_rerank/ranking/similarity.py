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
_SHORTEST = 2  # letters of a word
_STEM = 7  # of its letters that count: inflected forms fall together, in most languages
# Thai to Khmer, Japanese, Chinese: no space between words, which are pairs of characters here.
_UNSPACED = (
    (0x0E00, 0x0F00),
    (0x1000, 0x10A0),
    (0x1780, 0x1800),
    (0x3040, 0x3100),
    (0x3400, 0xA000),
)
# Multiplications that OpenBLAS does in one thread. More of them it shares out, and threads that
# wait for each other on busy cores take ten times as long as one.
_ALONE = 400_000


@lru_cache(maxsize=16)  # further pages of a search, and tuning, ask for the same again
def similarity(texts: tuple[str, ...]) -> Array:
    """The cosine (0 to 1) of every two of up to 128 texts, as a square matrix in float32.

    Read are the first 2,000 characters of a text and the first seven letters or digits of a word,
    whatever their case; of scripts without spaces every two characters.
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
    vectors.ravel()[row * vectors.shape[1] + column] = weight[kept] / length[row]
    alike = _products(vectors)
    alike.setflags(write=False)
    return alike


def _terms(texts: Sequence[str]) -> Array:
    """The words of all texts, each as one number with that of its text."""
    import numpy as np

    # A zero ends each text, so that no word goes on in the next one.
    read = [text[:_CHARACTERS] for text in texts]
    points = np.frombuffer("\0".join([*read, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
    ends = np.cumsum([len(text) + 1 for text in read])
    letters = _letters().take(points, mode="clip")
    if points.max(initial=0) < _UNSPACED[0][0]:
        return _words(letters, ends)
    unspaced = np.logical_or.reduce([(low <= points) & (points < high) for low, high in _UNSPACED])
    pairs = _pairs(points, unspaced & (letters != 0), ends)
    return np.concatenate([_words(np.where(unspaced, 0, letters), ends), pairs])


def _words(letters: Array, ends: Array) -> Array:
    """Runs of letters (bytes, 0 for what is none), in texts that end there."""
    import numpy as np

    padded = np.zeros(len(letters) + 8, np.uint8)
    padded[1:-7] = letters
    inside = padded != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, length = edges[::2], edges[1::2] - edges[::2]
    is_word = length >= _SHORTEST
    start, length = start[is_word], length[is_word]
    eight_from = np.ndarray((len(letters) + 1,), "<i8", padded.data, strides=(1,))
    stem = eight_from[start + 1] & ((1 << 8 * np.minimum(length, _STEM)) - 1)
    return _numbered(stem, start, ends)


def _pairs(points: Array, unspaced: Array, ends: Array) -> Array:
    """Every two characters beside each other of scripts that put no space between words."""
    import numpy as np

    start = np.flatnonzero(unspaced[1:] & unspaced[:-1])
    first, second = points[start].astype(np.int64), points[start + 1]
    return _numbered(1 << 48 | first << 16 | second, start, ends)


def _numbered(stem: Array, start: Array, ends: Array) -> Array:
    """Stems that start there, each with the number of its text."""
    import numpy as np

    row = np.repeat(np.arange(len(ends)), np.diff(np.searchsorted(start, ends), prepend=0))
    terms: Array = stem << _ROW_BITS | row
    return terms


@lru_cache(maxsize=1)
def _letters() -> Array:
    """A byte (1 to 255) for each letter and digit up to U+FFFF, whatever its case; 0 for the rest.

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
