"""What is known of a collection or index: the same for every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.protocols import Vector
from vecdb_rerank.request import Language

POINTS = 64  # documents that a description reads at most
BYTES = 1_000_000  # and their size, as far as it can be foreseen
WITH_VECTORS = 4  # documents after which no more are read with their vectors


@dataclass(frozen=True, slots=True)
class DenseVector:
    """A dense vector. ``name`` is empty for one without a name, ``size`` None if unknown.

    ``problem`` says why it cannot be searched here; empty if it can.
    """

    name: str
    size: int | None
    metric: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """A sparse vector; ``language`` is that of its BM25 terms, None if it holds other ones."""

    name: str
    idf: bool
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored document: its payload, and its dense vectors by name if they were read."""

    payload: Mapping[str, object]
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """A collection or index, as far as it is needed to search it.

    ``text_indexes`` are the fields that BM25 can search without sparse vectors, ``text_queries``
    says whether such an index could be created, ``splits_all`` whether it finds the words of
    languages without spaces. ``analyzers`` are those of the text fields of an
    OpenSearch index.
    """

    subject: str
    documents: int
    dense: Sequence[DenseVector] = ()
    sparse: Sequence[SparseVector] = ()
    text_indexes: Sequence[str] = ()
    text_queries: bool = False
    splits_all: bool = True
    analyzers: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[Sample] = ()


def next_batch(read: Sequence[int]) -> int:
    """Return how many documents to read after those of these sizes in bytes.

    Each is expected to be at most twice as large as the largest one so far.
    """
    if not read:
        return 1
    left = BYTES - sum(read)
    return max(0, min(POINTS - len(read), 4 * len(read), left // (2 * max(*read, 1))))
