"""The contract of an embedder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.testing.corpus import CORPUS, QUERIES
from vecdb_rerank.testing.rerankers import AWKWARD

TEXTS = [str(document["text"]) for document in CORPUS]


class EmbedderContract:
    """Tests for an embedder; define the fixture ``embedder``.

    ``tolerance`` is the largest difference allowed between two vectors of the same text, in any
    component.
    """

    tolerance: float = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> Embedder:
        """The embedder under test."""
        raise NotImplementedError("define the fixture `embedder`")

    def test_is_an_embedder(self, embedder: Embedder) -> None:
        """It has the members of the protocol, and a dimension above 0."""
        assert isinstance(embedder, Embedder)
        assert isinstance(embedder.dimension, int)
        assert embedder.dimension > 0

    def test_one_vector_a_document(self, embedder: Embedder) -> None:
        """Every document gets a finite vector of the stated dimension, which is not zero."""
        _check(embedder.embed_documents(TEXTS[:7]), 7, embedder.dimension)
        _check(embedder.embed_documents([]), 0, embedder.dimension)

    def test_query_vector(self, embedder: Embedder) -> None:
        """A query gets one vector of the same dimension."""
        _check([embedder.embed_query(TEXTS[0])], 1, embedder.dimension)

    def test_vectors_follow_their_texts(self, embedder: Embedder) -> None:
        """A text's vector depends neither on its position nor on the other texts."""
        forward = embedder.embed_documents(TEXTS[:6])
        backward = embedder.embed_documents(TEXTS[:6][::-1])[::-1]
        for one, other in zip(forward, backward, strict=True):
            assert list(one) == pytest.approx(list(other), abs=self.tolerance)

    @pytest.mark.parametrize("subject", QUERIES)
    def test_finds_the_subject(self, embedder: Embedder, subject: str) -> None:
        """The nearest document to a question is one on its subject."""
        query = embedder.embed_query(QUERIES[subject])
        cosines = [_cosine(query, vector) for vector in embedder.embed_documents(TEXTS)]
        assert CORPUS[cosines.index(max(cosines))]["subject"] == subject

    def test_awkward_texts(self, embedder: Embedder) -> None:
        """Empty, blank, very long and non-Latin texts get vectors too."""
        texts = ["", *AWKWARD]
        _check(embedder.embed_documents(texts), len(texts), embedder.dimension)
        for text in AWKWARD:
            _check([embedder.embed_query(text)], 1, embedder.dimension)

    def test_threads(self, embedder: Embedder) -> None:
        """Concurrent threads get the same vectors as a single one."""
        expected = list(embedder.embed_query(TEXTS[0]))
        with ThreadPoolExecutor(4) as pool:
            many = list(pool.map(lambda _: embedder.embed_query(TEXTS[0]), range(16)))
        for vector in many:
            assert list(vector) == pytest.approx(expected, abs=self.tolerance)


def _check(vectors: Sequence[Vector], count: int, dimension: int) -> None:
    assert len(vectors) == count
    for vector in vectors:
        assert len(vector) == dimension
        assert all(map(math.isfinite, vector))
        assert any(vector), "the zero vector has no direction"


def _cosine(one: Vector, other: Vector) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
