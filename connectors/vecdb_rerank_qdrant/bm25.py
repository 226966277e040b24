"""BM25 as sparse vectors, the same ones that a Qdrant server makes for ``qdrant/bm25``.

A document's weight for a term is ``tf * (k + 1) / (tf + k * (1 - b + b * length / avg_len))``
(Robertson and Zaragoza, 2009); the inverse document frequency is the collection's own
(``modifier=IDF``). Terms are runs of letters and digits, lower-cased, stemmed (Snowball) and hashed
(MurmurHash3, 32 bits, its absolute value). English ones are without stop words; those of other
languages stay, which their inverse document frequency makes light.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from qdrant_client.http import models

from vecdb_rerank._optional import require
from vecdb_rerank.request import Bm25Params, Language, check_language
from vecdb_rerank_qdrant.layout import BM25_MODEL

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


@dataclass(frozen=True, slots=True)
class Bm25(Bm25Params):
    """Encodes texts in ``language`` with these parameters, or has the server do it."""

    language: Language = "english"

    def __post_init__(self) -> None:
        # Not by super(): slots make another class of this one.
        Bm25Params.__post_init__(self)
        check_language(self.language)

    def on_server(self, text: str) -> models.Document:
        """``text`` for a server to encode; options are a plain dict, as gRPC wants them."""
        options = asdict(self)
        if self.language != "english":
            options["stopwords"] = []
        return models.Document(text=text, model=BM25_MODEL, options=options)

    def document(self, text: str) -> models.SparseVector:
        """The vector of a document, encoded here."""
        terms = list(_terms(text, self.language))
        norm = self.k * (1 - self.b + self.b * len(terms) / self.avg_len)
        weights = {
            _term_id(term): count * (self.k + 1) / (norm + count)
            for term, count in Counter(terms).items()
        }
        return _sparse(weights)

    def query(self, text: str) -> models.SparseVector:
        """The vector of a query, encoded here: each of its terms once."""
        return _sparse({_term_id(term): 1.0 for term in _terms(text, self.language)})


def _sparse(weights: dict[int, float]) -> models.SparseVector:
    indices = sorted(weights)
    return models.SparseVector(indices=indices, values=[weights[i] for i in indices])


def _terms(text: str, language: Language) -> Iterator[str]:
    word, stemmer = _tools(language)
    stop_words = STOP_WORDS if language == "english" else frozenset()
    for token in word.findall(text):
        lowered = token.lower()
        if lowered not in stop_words:
            yield stemmer.stem_word(lowered)


def _term_id(term: str) -> int:
    return abs(int(require("mmh3", "qdrant").hash(term)))


@cache
def _tools(language: Language) -> tuple[Any, Any]:
    """The pattern of a word (Unicode letters and digits) and the server's own stemmer."""
    word = require("regex", "qdrant").compile(r"[\p{Alphabetic}\p{N}]+")
    return word, require("py_rust_stemmers", "qdrant").SnowballStemmer(language)
