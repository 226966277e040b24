"""BM25 as sparse vectors: those of a Qdrant server's ``qdrant/bm25``, with more terms.

A document's weight for a term is ``tf * (k + 1) / (tf + k * (1 - b + b * length / avg_len))``
(Robertson and Zaragoza, 2009); the inverse document frequency is the collection's own
(``modifier=IDF``). The server's terms are runs of letters and digits, lower-cased, stemmed
(Snowball) and hashed (MurmurHash3, 32 bits, its absolute value). English ones are without stop
words; those of other languages stay, and their inverse document frequency makes them light.

The server takes a sentence without spaces for one term, and ``C++`` for ``c``. So there are more
terms here, which change no other's weight (`terms`): a collection that the server filled can be
searched, and the server's own queries find what is stored here.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Protocol

from qdrant_client.http import models

from vecdb_rerank._optional import require
from vecdb_rerank.request import UNSPACED, Bm25Params, Language, check_language

# The server's English list, without words that hold an apostrophe: no term can equal those.
STOP_WORDS = frozenset(
    """
    a about above after again against ain all am an and any are aren as at be because been before
    being below between both but by can couldn d did didn do does doesn doing don down during each
    few for from further had hadn has hasn have haven having he her here hers herself him himself
    his how i if in into is isn it its itself just ll m ma me mightn more most mustn my myself
    needn no nor not now o of off on once only or other our ours ourselves out over own re s same
    shan she should shouldn so some such t than that the their theirs them themselves then there
    these they this those through to too under until up ve very was wasn we were weren what when
    where which while who whom why will with won wouldn y you your yours yourself yourselves
    """.split()
)


# C++, C#, F# and the like.
_SYMBOLS = re.compile(r"(?<![\w])[A-Za-z][A-Za-z0-9]{0,9}(?:\+\+|#)(?![\w+#])")


@dataclass(frozen=True, slots=True)
class Bm25(Bm25Params):
    """Encodes texts in ``language`` with these parameters."""

    language: Language = "english"

    def __post_init__(self) -> None:
        # Not by super(): slots make another class of this one.
        Bm25Params.__post_init__(self)
        check_language(self.language)

    def document(self, text: str) -> models.SparseVector:
        """Return the vector of a document."""
        counts = Counter(_server_terms(text, self.language))
        norm = self.k * (1 - self.b + self.b * counts.total() / self.avg_len)
        more = Counter(_more_terms(text, self.language, ideographs=True))
        weights = {
            _term_id(term): count * (self.k + 1) / (norm + count)
            for term, count in {**more, **counts}.items()  # a server's term keeps its count
        }
        return _sparse(weights)

    def query(self, text: str) -> models.SparseVector:
        """Return the vector of a query: each of its terms once."""
        terms = {*_server_terms(text, self.language), *_more_terms(text, self.language)}
        return _sparse({_term_id(term): 1.0 for term in terms})

    def server_terms(self, text: str) -> frozenset[int]:
        """Return the indices that a server makes of ``text``."""
        return frozenset(map(_term_id, _server_terms(text, self.language)))

    def more_terms(self, text: str) -> frozenset[int]:
        """Return the indices that are made here in addition."""
        more = _more_terms(text, self.language, ideographs=True)
        return frozenset(map(_term_id, more)) - self.server_terms(text)


def _sparse(weights: dict[int, float]) -> models.SparseVector:
    indices = sorted(weights)
    return models.SparseVector(indices=indices, values=[weights[i] for i in indices])


def _server_terms(text: str, language: Language) -> Iterator[str]:
    return _stems(_words().findall(text), language)


def _more_terms(text: str, language: Language, *, ideographs: bool = False) -> Iterator[str]:
    """Yield the terms that a server does not make.

    Those are the pairs of neighbouring characters of a script without spaces (and, with
    ``ideographs``, the single ones, for queries of one character); the parts of identifiers; and
    names such as C++.
    """
    if not text.isascii():
        for run in _unspaced().findall(unicodedata.normalize("NFKC", text)):
            letters = "".join(c for c in run if unicodedata.category(c) != "Mn")
            yield from map("".join, pairwise(letters))
            if ideographs or len(letters) == 1:
                yield from _ideographs().findall(letters)
    yield from map(str.lower, _SYMBOLS.findall(text))
    for word in _words().findall(text):
        parts = _parts().findall(word)
        if parts != [word]:
            yield from _stems((part for part in parts if len(part) > 1), language)


def _stems(words: Iterable[str], language: Language) -> Iterator[str]:
    stem = _stemmer(language)
    stop_words = STOP_WORDS if language == "english" else frozenset()
    for word in words:
        lowered = word.lower()
        if lowered not in stop_words:
            yield stem(lowered)


def _term_id(term: str) -> int:
    return abs(int(require("mmh3", "qdrant").hash(term)))


class _Pattern(Protocol):
    """A compiled pattern of ``regex``, which has no types."""

    def findall(self, string: str) -> list[str]: ...


@cache
def _words() -> _Pattern:
    """Return the pattern of a server's word: Unicode letters and digits."""
    return _compiled(r"[\p{Alphabetic}\p{N}]+")


@cache
def _parts() -> _Pattern:
    """Return the pattern of the parts of getUser, HTTPServer and RFC9110."""
    return _compiled(r"\p{Lu}{2,}(?!\p{Ll})|\p{Lu}?\p{Ll}+|\p{Lu}+|\p{N}+")


@cache
def _unspaced() -> _Pattern:
    """Return the pattern of a run of a script that is written without spaces, and of Hangul."""
    scripts = ("Han", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar")
    classes = "".join(rf"\p{{Script={script}}}" for script in scripts)
    return _compiled(rf"(?:(?=[\p{{L}}\p{{M}}ー])[{classes}ー])+")


@cache
def _ideographs() -> _Pattern:
    return _compiled(r"\p{Script=Han}")


def _compiled(pattern: str) -> _Pattern:
    compiled: _Pattern = require("regex", "qdrant").compile(pattern)
    return compiled


@cache
def _stemmer(language: Language) -> Callable[[str], str]:
    """Return the server's own stemmer."""
    if language in UNSPACED:
        return str
    stem: Callable[[str], str] = (
        require("py_rust_stemmers", "qdrant").SnowballStemmer(language).stem_word
    )
    return stem
