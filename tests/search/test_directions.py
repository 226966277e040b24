"""Whether queries and documents are embedded as what they are, by the vectors that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from qdrant_client import QdrantClient

from vecdb_rerank.flow.drivers import run
from vecdb_rerank.protocols import Embedder
from vecdb_rerank.search.directions import directions
from vecdb_rerank.search.store import Finding
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector

SUBJECTS = "bees honey hive clover bread flour yeast oven granite quartz lava basalt".split()
TEXTS = [
    f"About {one} and {other} much is known. Whoever asks for {one} beside {other} is told it. "
    f"Number {n} is the page of {other} with {one}."
    for n, (one, other) in enumerate((a, b) for a in SUBJECTS[:4] for b in SUBJECTS[4:10])
]


@dataclass(frozen=True)
class Asymmetric:
    """Queries and documents differ by what is written before them."""

    query: str = ""
    document: str = ""
    dimension: int = 64

    def embed_query(self, text: str) -> list[float]:
        return HashEmbedder(self.dimension).embed_query(self.query + text)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [HashEmbedder(self.dimension).embed_query(self.document + t) for t in texts]


@contextmanager
def filled(stored: Embedder, searched: Embedder) -> Iterator[QdrantConnector]:
    """A collection whose vectors one embedder made, searched with another."""
    client = QdrantClient(":memory:")
    documents = [{"id": n, "text": text} for n, text in enumerate(TEXTS)]
    with QdrantConnector(client, "c", embedder=stored, reranker=None) as connector:
        connector.create()
        connector.add(documents)
    with QdrantConnector(
        client, "c", embedder=searched, reranker=None, close_client=True
    ) as connector:
        yield connector


def found(stored: Embedder, searched: Embedder) -> Finding | None:
    with filled(stored, searched) as connector:
        measured = connector.self_retrieval()
        assert measured is not None
        return run(directions(connector.pipeline, connector.store, "dense", measured))


RIGHT = Asymmetric(query="query kind: ", document="passage kind: ")


def test_the_right_directions_are_fine() -> None:
    finding = found(RIGHT, RIGHT)
    assert finding is not None
    assert finding.level == "ok"
    assert "1.000" in finding.detail


def test_documents_that_were_embedded_as_queries_are_a_warning() -> None:
    finding = found(Asymmetric(document=RIGHT.query), RIGHT)
    assert finding is not None
    assert finding.level == "warning"
    assert "document_kind" in finding.fix


def test_queries_that_find_more_as_documents_are_a_warning() -> None:
    noise = " ".join(
        f"{word}{n}" for word in ("noise", "words", "which", "drown") for n in range(9)
    )
    finding = found(RIGHT, Asymmetric(query=f"{noise} ", document=RIGHT.document))
    assert finding is not None
    assert finding.level == "warning"
    assert "query_kind" in finding.fix


class Other(Asymmetric):
    """Another model, whose vectors have nothing to do with those."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text)[::-1]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector[::-1] for vector in super().embed_documents(texts)]


@pytest.mark.parametrize(
    "searched",
    [Asymmetric(), Other(query=RIGHT.query, document=RIGHT.document)],
    ids=["no difference", "another model"],
)
def test_nothing_is_said_if_nothing_can_be_compared(searched: Embedder) -> None:
    assert found(RIGHT, searched) is None
