"""Fixtures and helpers that the connector suites share."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pytest

from vecdb_rerank.model import Candidate, HitId
from vecdb_rerank.outcome import ExplainedHit, Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.protocols import AnyReranker, Embedder
from vecdb_rerank.testing.corpus import CORPUS
from vecdb_rerank.testing.doubles import HashEmbedder, KeepingReranker


class ConnectorUnderTest(Protocol):
    """The methods of a connector; those of an asynchronous one return awaitables."""

    def search(self, query: str, **options: Any) -> object:
        """Return the native response."""

    def candidates(self, response: Any) -> Sequence[Candidate]:
        """Return the hits of a native response."""

    def create(self) -> object:
        """Return whether the collection was created."""

    def add(self, documents: Iterable[object], **options: Any) -> object:
        """Return the report on the documents added."""

    def self_retrieval(self) -> object:
        """Measure how well both branches find stored documents."""

    def check(self) -> object:
        """Return the findings."""

    def delete(self) -> object:
        """Delete the collection."""

    def close(self) -> object:
        """Close the connections."""


Connect = Callable[..., ConnectorUnderTest]
"""Makes a connector for a collection, with options."""
Call = Callable[[object], Any]
"""Returns a value as it is, and the result of an awaitable."""
_numbers = itertools.count()
# Many tests compare the order of a replaced model: its relevance alone must decide.
REPLACE = Policy(blend=Blend("replace"))


def caller(runner: asyncio.Runner) -> Call:
    """Return a `Call` that awaits on the runner's loop, in the context of its caller."""

    def call(value: object) -> Any:
        if not inspect.iscoroutine(value):
            return value
        return runner.run(value, context=contextvars.copy_context())

    return call


def new_name() -> str:
    """Return a collection name that has not been used."""
    return f"contract-{os.getpid()}-{next(_numbers)}"


class ConnectorFixtures:
    """The fixtures of a connector suite; see `ConnectorContract`."""

    response_type: type = object
    """The type of a native response."""

    @pytest.fixture(scope="class")
    @classmethod
    def connect(cls) -> Connect:
        """Return ``connect(collection, **options)``, which makes a connector."""
        raise NotImplementedError("define the fixture `connect`")

    def filter_by(self, field: str, value: str) -> object:
        """Return the native filter for documents whose string ``field`` is ``value``."""
        raise NotImplementedError("define the method `filter_by`")

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls) -> Iterator[Call]:
        """Yield the function that runs what a connector's method returns."""
        with asyncio.Runner() as runner:
            yield caller(runner)

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> Embedder:
        """Return the embedder of documents and queries."""
        return HashEmbedder()

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> AnyReranker:
        """Return the reranker of the connectors, unless a test gives another one."""
        return KeepingReranker()

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, connect: Connect, embedder: Embedder, reranker: AnyReranker) -> Connect:
        """Return ``connect`` with the models of the suite as defaults."""

        def make(collection: str, **options: object) -> ConnectorUnderTest:
            defaults = {"embedder": embedder, "reranker": reranker, "policy": REPLACE}
            return connect(collection, **{**defaults, **options})

        return make

    @pytest.fixture
    def fresh(self, make: Connect, call: Call) -> Iterator[ConnectorUnderTest]:
        """Yield a connector over a new, empty collection."""
        connector = make(new_name())
        call(connector.create())
        yield connector
        call(connector.delete())

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, make: Connect, call: Call) -> Iterator[str]:
        """Yield the name of a collection that holds `CORPUS`; tests must not change it."""
        name = new_name()
        connector = make(name)
        call(connector.create())
        report = call(connector.add(CORPUS))
        assert report.added == len(CORPUS), report
        yield name
        call(connector.delete())

    @pytest.fixture
    def connector(self, make: Connect, filled: str) -> ConnectorUnderTest:
        """Return a connector over `CORPUS`."""
        return make(filled)


def ids(connector: ConnectorUnderTest, response: object) -> list[str]:
    """Return the ids that the response's documents were added under, in order."""
    return [str(candidate.doc_id) for candidate in connector.candidates(response)]


def scores(connector: ConnectorUnderTest, response: object) -> list[float]:
    """Return the scores of the response, in order."""
    return [candidate.score for candidate in connector.candidates(response)]


def payloads(connector: ConnectorUnderTest, response: object) -> dict[str, Mapping[str, object]]:
    """Return the stored documents of the response by the id they were added under."""
    return {str(c.doc_id): c.payload for c in connector.candidates(response)}


def everything(connector: ConnectorUnderTest, call: Call) -> object:
    """Return the response with all documents of a small collection, by a dense search."""
    return call(connector.search("everything", mode="dense", k=200, limit=200, rerank=False))


def explained(connector: ConnectorUnderTest, call: Call, query: str, **options: object) -> Outcome:
    """Return the outcome of a search with ``explain=True``."""
    with observe() as outcomes:
        call(connector.search(query, explain=True, **options))
    [outcome] = outcomes
    return outcome


def descending(numbers: Sequence[float]) -> bool:
    """Check whether the numbers never increase."""
    return all(a >= b for a, b in itertools.pairwise(numbers))


def one_line(error: BaseException) -> bool:
    """Check whether an error's message is one line of more than 20 characters."""
    return "\n" not in str(error) and len(str(error)) > 20


def by_id(outcome: Outcome) -> dict[HitId, ExplainedHit]:
    """Return the explained hits by id."""
    return {hit.id: hit for hit in outcome.hits}
