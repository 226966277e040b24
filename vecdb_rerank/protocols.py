"""What other people's rerankers, embedders and databases have to be.

Each can be proven with the suites in `vecdb_rerank.testing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import BranchHit, Candidate, HitId, Ranking, Scores
from vecdb_rerank.request import Search
from vecdb_rerank.text_fields import TextFields

Vector = Sequence[float]
Evidence = Mapping[str, Mapping[HitId, BranchHit]]
ResponseT = TypeVar("ResponseT")


@runtime_checkable
class Reranker(Protocol):
    """Scores how well each document answers a query."""

    @property
    def name(self) -> str:
        """A short name for outcomes and logs."""
        ...

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """One score a document, in the same order.

        A reranker with an attribute ``keeps_deadline = True`` promises to return by ``deadline``
        with what it has (None for the rest) and is called inline; any other is watched from
        outside. One with a method ``steps``, a `Flow` of the same arguments, is
        driven by it instead, so that its I/O is asynchronous where the search is; it counts as
        remote unless it has ``local = True``. One with a method ``closing`` is closed with its
        connector, and one with a method ``warmup`` is loaded by its connector's. ``calibration``,
        if it has one, puts its relevance on the common scale
        (`policy.calibration.Calibration`). ``listwise = True`` says that a score depends on
        what else is scored, so that none is kept for another list. By ``room(query)`` and
        ``token_offsets(text)`` long documents are cut at its own tokens.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """UrlRotation text into vectors; may treat queries and documents differently."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        ...

    def embed_query(self, text: str) -> Vector:
        """The vector of a query, shape (dimension,)."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """The vectors of documents, shape (len(texts), dimension)."""
        ...


@dataclass(frozen=True, slots=True)
class FirstPass(Generic[ResponseT]):
    """A first pass that came back: the native response and what is known beside it.

    ``evidence`` maps a branch name to its hits by id; empty where the policy did not ask.
    ``injected_fields`` says what the request asked for beyond the caller's wish (the text to
    rerank), in the database's own terms; `Hits.rebuild` takes it out again. ``ascending`` says
    that the scores are distances: less is better. ``notes`` are those of the `Outcome`.
    """

    response: ResponseT
    fused_by: Literal["database", "client", "none"] = "none"
    evidence: Evidence = field(default_factory=dict)
    injected_fields: Any = ()
    ascending: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


class Hits(Protocol[ResponseT]):
    """How the hits of a database's response are read and put in order; pure."""

    @property
    def name(self) -> str:
        """The database's name, for outcomes and traces."""
        ...

    def candidates(
        self, first: FirstPass[ResponseT], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """The response's hits, in its order."""
        ...

    def rebuild(self, first: FirstPass[ResponseT], ranking: Ranking) -> ResponseT:
        """The first pass's response with just the ranking's hits, in its order, with its scores."""
        ...


class Database(Hits[ResponseT], Protocol[ResponseT]):
    """One database as the pipeline sees it."""

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[ResponseT]]:
        """Ask the database for ``search.k`` hits, in one round trip where it can."""
        ...

    def describe_error(self, error: Exception) -> str:
        """One line that says what is wrong with a failed call and what to do."""
        ...
