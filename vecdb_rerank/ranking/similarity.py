"""Compute how similar texts are: the cosine of their TF-IDF vectors.

A search has about a millisecond for this, so that all texts are processed as arrays: each letter
is one byte, and each word is the integer that its first seven bytes make.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Terms = npt.NDArray[np.int64]
    Letters = npt.NDArray[np.uint8]
    Characters = npt.NDArray[np.uint32]
    Places = npt.NDArray[np.intp]
    Vectors = npt.NDArray[np.float32]

MAX_TEXTS = 128  # a term is 7 bytes of a word and 7 bits for the number of its text
_ROW_BITS = 7
_MAX_CHARACTERS = 2_000  # per text, about as much as a reranker reads
_MIN_LETTERS = 2  # of a word
_STEM_LETTERS = 7  # enough to match inflected forms in most languages
# Thai to Khmer, Japanese, Chinese: there are no spaces between words, so terms are pairs of
# characters.
_UNSPACED = (
    (0x0E00, 0x0F00),
    (0x1000, 0x10A0),
    (0x1780, 0x1800),
    (0x3040, 0x3100),
    (0x3400, 0xA000),
)
# The most multiplications that OpenBLAS does in one thread. It splits larger products over threads,
# which take ten times as long on busy cores.
_MAX_PRODUCTS = 400_000


@lru_cache(maxsize=16)  # later pages of a search, and tuning, compare the same texts again
def similarity(texts: tuple[str, ...]) -> Vectors:
    """Return the cosine (0 to 1) of each pair of up to 128 texts, shape (n, n), float32.

    Only the first 2,000 characters of each text count, and the first seven letters or digits of
    each word, in any case. In scripts without spaces, each pair of adjacent characters is a term.
    """
    import numpy as np

    n = len(texts)
    term, counts = np.unique(_terms(texts), return_counts=True)
    word, row = term >> _ROW_BITS, term & (MAX_TEXTS - 1)
    column = np.cumsum(np.diff(word, prepend=-1) != 0) - 1
    frequency = np.bincount(column)
    weight = (1 + np.log(counts)) * np.log(n / frequency)[column]
    length = np.sqrt(np.bincount(row, weight**2, minlength=n))
    shared = frequency > 1
    kept = shared[column] & (weight > 0)
    row, column = row[kept], (np.cumsum(shared) - 1)[column[kept]]
    vectors = np.zeros((n, np.count_nonzero(shared)), np.float32)
    vectors.ravel()[row * vectors.shape[1] + column] = weight[kept] / length[row]
    cosines = _row_products(vectors)
    cosines.setflags(write=False)
    return cosines


def _terms(texts: Sequence[str]) -> Terms:
    """Return the words of all texts, each as one integer that includes the number of its text."""
    import numpy as np

    # A zero ends each text, so that no word continues in the next one.
    read = [text[:_MAX_CHARACTERS] for text in texts]
    points = np.frombuffer("\0".join([*read, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
    ends = np.cumsum([len(text) + 1 for text in read])
    letters = _letters().take(points, mode="clip")
    if points.max(initial=0) < _UNSPACED[0][0]:
        return _words(letters, ends)
    unspaced = np.logical_or.reduce([(low <= points) & (points < high) for low, high in _UNSPACED])
    pairs = _pairs(points, unspaced & (letters != 0), ends)
    return np.concatenate([_words(np.where(unspaced, 0, letters), ends), pairs])


def _words(letters: Letters, ends: Terms) -> Terms:
    """Return the runs of letters (0 is no letter); ``ends`` are the ends of the texts."""
    import numpy as np

    padded = np.zeros(len(letters) + 8, np.uint8)
    padded[1:-7] = letters
    inside = padded != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, length = edges[::2], edges[1::2] - edges[::2]
    is_word = length >= _MIN_LETTERS
    start, length = start[is_word], length[is_word]
    eight_from = np.ndarray((len(letters) + 1,), "<i8", padded.data, strides=(1,))
    stem = eight_from[start + 1] & ((1 << 8 * np.minimum(length, _STEM_LETTERS)) - 1)
    return _add_row(stem, start, ends)


def _pairs(points: Characters, unspaced: npt.NDArray[np.bool_], ends: Terms) -> Terms:
    """Return the pairs of adjacent characters in scripts without spaces."""
    import numpy as np

    start = np.flatnonzero(unspaced[1:] & unspaced[:-1])
    first, second = points[start].astype(np.int64), points[start + 1]
    return _add_row(1 << 48 | first << 16 | second, start, ends)


def _add_row(stem: Terms, start: Places, ends: Terms) -> Terms:
    """Add the number of its text to each stem; ``start`` is where the stem starts."""
    import numpy as np

    row = np.repeat(np.arange(len(ends)), np.diff(np.searchsorted(start, ends), prepend=0))
    terms: Terms = stem << _ROW_BITS | row
    return terms


@lru_cache(maxsize=1)
def _letters() -> Letters:
    """Return a byte for each character up to U+FFFF: 1 to 255 for letters and digits, else 0.

    The byte is the same in both cases. The letters of one alphabet get different bytes; some
    letters of different alphabets share one.
    """
    import numpy as np

    characters = list(map(chr, range(1 << 16)))
    lower = np.array(list(map(str.lower, characters)), "U1").view(np.uint32)
    return np.where(list(map(str.isalnum, characters)), 1 + lower % 255, 0).astype(np.uint8)


def _row_products(vectors: Vectors) -> Vectors:
    """Return the product of each pair of rows, computed a few columns at a time."""
    import numpy as np

    n, width = vectors.shape
    step = max(1, _MAX_PRODUCTS // max(1, n**2))
    products = np.zeros((n, n), np.float32)
    for start in range(0, width, step):
        part = vectors[:, start : start + step]
        products += part @ part.T
    return products
