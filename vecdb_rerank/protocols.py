"""What third-party rerankers, embedders and databases implement.

The suites in `vecdb_rerank.testing` check them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.model import BranchHit, Candidate, HitId, Ranking, Scores, Span
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.request import Search
from vecdb_rerank.text_fields import TextFields

Vector = Sequence[float]
Evidence = Mapping[str, Mapping[HitId, BranchHit]]
ResponseT = TypeVar("ResponseT")


@runtime_checkable
class Reranker(Protocol):
    """Scores how well each of several texts answers a query.

    ``score(query, texts)`` returns one relevance (0 to 1) per text in their order, or `Scores`.
    It may accept a keyword argument ``deadline`` (`Deadline`) and return None for texts that it
    had no time for, and a keyword argument ``instruction`` (a str that says what counts as
    relevant), which is given if a search has one. An attribute ``name`` is used in outcomes and
    logs; it defaults to the class's name. Subclass `BaseReranker` for further abilities.
    """

    @property
    def score(self) -> Callable[..., Scores | Sequence[float | None]]:
        """Score ``texts`` for ``query``; this blocks, so asynchronous searches use a thread."""
        ...


@runtime_checkable
class AsyncReranker(Protocol):
    """A `Reranker` with a coroutine function ``score_async`` instead of ``score``."""

    @property
    def score_async(self) -> Callable[..., Awaitable[Scores | Sequence[float | None]]]:
        """Score ``texts`` for ``query`` on the event loop."""
        ...


class BaseReranker:
    """Base class for rerankers that describe their abilities; every member has a default.

    Override ``score`` for blocking work, or ``steps`` for I/O that is yielded (see
    `vecdb_rerank.flow`).
    """

    keeps_deadline: bool = False
    """Whether `score` returns by the deadline with what it has; otherwise a thread is abandoned."""
    local: bool = True
    """Whether it runs in this process. Calls to remote ones are trimmed to the time left."""
    listwise: bool = False
    """Whether a text's score depends on the other texts."""
    by_rank: bool = False
    """Whether it returns an order alone, from which its relevance follows by rank."""
    bills: bool = False
    """Whether a service charges for it; a budget then needs its price."""
    takes_instruction: bool = False
    """Whether an instruction can say what counts as relevant; see `with_instruction`."""
    english_only: bool = False
    """Whether it reads English alone; a connector warns if the texts are in another language."""
    batch: int | None = None
    """Documents that it scores as fast in a call of their own; None to score all in one call."""
    calibration: Calibration | None = None
    """Maps its relevance to the common scale, unless the policy has a calibration for its name."""

    @property
    def name(self) -> str:
        """A short name for outcomes and logs."""
        return type(self).__name__

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return a score for each document, in their order."""
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Return `score` as a flow that yields its I/O."""
        timeout = math.inf if self.keeps_deadline else deadline.remaining()
        scores: Scores = yield Compute(
            lambda: self.score(query, documents, deadline=deadline), timeout
        )
        return scores

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:  # noqa: ARG002 - overridden
        """Return the units that the service will charge for a call."""
        return 0.0

    def with_instruction(self, instruction: str) -> BaseReranker:  # noqa: ARG002 - overridden
        """Return this reranker as one that follows ``instruction``; ``""`` is none.

        Both share their state, such as connections. It replaces the reranker's own instruction.
        Raise `ConfigurationError` (key ``instruction``) if the reranker has no place for one.
        """
        raise ConfigurationError("instruction", f"{self.name} has no place for one")

    def warmup(self) -> object:
        """Load the model, so that no search waits for it; send nothing to a server."""
        return None

    def closing(self) -> Flow[None]:
        """Return the flow that closes its connections."""
        yield from ()

    def room(self, query: str) -> int | None:  # noqa: ARG002 - overridden
        """Return the tokens of a document that it reads beside ``query``; None if unknown."""
        return None

    def token_offsets(self, text: str) -> Sequence[Span] | None:  # noqa: ARG002 - overridden
        """Return where in ``text`` (characters) each of its tokens is; None if unknown."""
        return None


# What the `reranker` argument may hold.
AnyReranker = Reranker | AsyncReranker


@runtime_checkable
class Embedder(Protocol):
    """Turns text into vectors; may treat queries and documents differently."""

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        ...

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, shape (dimension,)."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of documents, shape (len(texts), dimension)."""
        ...


@runtime_checkable
class FlowEmbedder(Protocol):
    """What an `Embedder` may offer as well: its I/O yielded, so that deadlines are kept.

    It has no ``dimension``, which to ask for may load a model.
    """

    def query_steps(self, text: str, *, deadline: Deadline) -> Flow[Vector]:
        """Return the vector of a query, as a flow."""
        ...

    def document_steps(
        self, texts: Sequence[str], *, deadline: Deadline
    ) -> Flow[Sequence[Vector | None]]:
        """Return the vectors of documents, as a flow; None for a text that was refused."""
        ...

    def closing(self) -> Flow[None]:
        """Return the flow that closes its connections."""
        ...


@dataclass(frozen=True, slots=True)
class Formula:
    """The caller's own formula over the scores of a first pass, as for stock or freshness.

    ``native`` is the score of each hit under the formula, by the hit's position in the response
    (from 0); ``ascending`` means that those are distances, and lower is better. ``score`` returns
    what the formula makes of a hit, given by position, with a native score; it raises `ValueError`
    where the formula has no value.
    """

    native: Mapping[int, float]
    score: Callable[[int, float], float]
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class FirstPass(Generic[ResponseT]):
    """A completed first pass: the native response and what is known about it.

    ``evidence`` maps a branch name to its hits by id; it is empty unless the search requested it.
    ``injected_fields`` names what was fetched beyond the caller's request (the text to rerank), in
    the database's own terms; `Hits.rebuild` removes it. ``ascending`` means that the scores are
    distances, and lower is better. ``notes`` are those of the `Outcome`. ``complete``, if given,
    fetches what the hits of the page lack and returns the response with it, hits in their places.
    ``formula`` is what the caller's request makes of native scores, and stays in force after
    reranking. ``obstacle`` is the reason why the hits must keep their order, if the response shows
    one. ``matching`` holds the positions of the hits (from 0) that match each of the search's
    ``extras.filters``, in their order. ``vectors`` are the stored dense vectors of hits by
    position, as far as the caller requested them.
    """

    response: ResponseT
    fused_by: Literal["database", "client", "none"] = "none"
    evidence: Evidence = field(default_factory=dict)
    injected_fields: Any = ()
    ascending: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    complete: Callable[[Ranking, Deadline], Flow[ResponseT]] | None = None
    formula: Formula | None = None
    obstacle: str | None = None
    matching: Sequence[Collection[int]] = ()
    vectors: Mapping[int, Vector] = field(default_factory=dict)


class Hits(Protocol[ResponseT]):
    """Reads the hits of a database's response and puts them in order; pure."""

    @property
    def name(self) -> str:
        """The database's name, for outcomes and traces."""
        ...

    def candidates(
        self, first: FirstPass[ResponseT], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """Return the response's hits, in its order."""
        ...

    def rebuild(self, first: FirstPass[ResponseT], ranking: Ranking) -> ResponseT:
        """Return the response with only the ranking's hits, in its order, with its scores."""
        ...


class Database(Hits[ResponseT], Protocol[ResponseT]):
    """One database as the pipeline sees it."""

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[ResponseT]]:
        """Fetch ``search.k`` hits, in one round trip if the database can."""
        ...

    def describe_error(self, error: Exception) -> str:
        """Return one line: what is wrong with a failed call, and what to do."""
        ...
