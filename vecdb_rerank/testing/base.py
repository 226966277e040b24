"""The fixtures that the connector suites share."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from vecdb_rerank.model import HitId
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.protocols import Embedder, Reranker
from vecdb_rerank.testing.corpus import CORPUS
from vecdb_rerank.testing.doubles import HashEmbedder, KeepingReranker

Connect = Callable[..., Any]
Call = Callable[[Any], Any]
_numbers = itertools.count()
# The stand-ins' order is what many tests look at: their relevance alone decides it.
PURE = Policy(blend=Blend("replace"))


def caller(runner: asyncio.Runner) -> Call:
    """What resolves an awaitable on the runner's loop, as code in the calling context would."""

    def call(value: Any) -> Any:
        if not inspect.iscoroutine(value):
            return value
        return runner.run(value, context=contextvars.copy_context())

    return call


def new_name() -> str:
    """A collection name that nobody has used."""
    return f"contract-{os.getpid()}-{next(_numbers)}"


class ConnectorFixtures:
    """What a connector suite runs on; see `ConnectorContract`."""

    response_type: type = object
    """The type of a native response."""

    @pytest.fixture(scope="class")
    @classmethod
    def connect(cls) -> Connect:
        """``connect(collection, **options)``: a connector made with those options."""
        raise NotImplementedError("define the fixture `connect`")

    def filter_by(self, field: str, value: str) -> Any:
        """The native filter for documents whose string ``field`` is ``value``."""
        raise NotImplementedError("define the method `filter_by`")

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls) -> Iterator[Call]:
        """Resolves what a connector's method gave: an awaitable is run, a value is returned."""
        with asyncio.Runner() as runner:
            yield caller(runner)

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> Embedder:
        """The embedder that documents and queries go through."""
        return HashEmbedder()

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls) -> Reranker:
        """The reranker of searches that do not bring their own."""
        return KeepingReranker()

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, connect: Connect, embedder: Embedder, reranker: Reranker) -> Connect:
        """``connect`` with the suite's models where the options name no others."""

        def make(collection: str, **options: Any) -> Any:
            defaults = {"embedder": embedder, "reranker": reranker, "policy": PURE}
            return connect(collection, **{**defaults, **options})

        return make

    @pytest.fixture
    def fresh(self, make: Connect, call: Call) -> Iterator[Any]:
        """A connector over an empty collection of its own."""
        connector = make(new_name())
        call(connector.create())
        yield connector
        call(connector.delete())

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, make: Connect, call: Call) -> Iterator[str]:
        """The name of a collection that holds `CORPUS`; tests leave it as it is."""
        name = new_name()
        connector = make(name)
        call(connector.create())
        report = call(connector.add(CORPUS))
        assert report.added == len(CORPUS), report
        yield name
        call(connector.delete())

    @pytest.fixture
    def connector(self, make: Connect, filled: str) -> Any:
        """A connector over `CORPUS`."""
        return make(filled)


def ids(connector: Any, response: Any) -> list[str]:
    """The ids that the response's documents were added under, in order."""
    return [str(candidate.doc_id) for candidate in connector.candidates(response)]


def scores(connector: Any, response: Any) -> list[float]:
    """The scores of the response, in order."""
    return [candidate.score for candidate in connector.candidates(response)]


def payloads(connector: Any, response: Any) -> dict[str, Mapping[str, Any]]:
    """The stored documents of the response, by the id they were added under."""
    return {str(c.doc_id): c.payload for c in connector.candidates(response)}


def everything(connector: Any, call: Call) -> Any:
    """All documents of a small collection: a dense search is as wide as it is told."""
    return call(connector.search("everything", mode="dense", k=200, limit=200, rerank=False))


def explained(connector: Any, call: Call, query: str, **arguments: Any) -> Outcome:
    """The outcome of a search with ``explain=True``."""
    with observe() as outcomes:
        call(connector.search(query, explain=True, **arguments))
    (outcome,) = outcomes
    return outcome


def descending(numbers: Sequence[float]) -> bool:
    """Whether the numbers never increase."""
    return all(a >= b for a, b in itertools.pairwise(numbers))


def one_line(error: BaseException) -> bool:
    """Whether an error's message is a single line that says something."""
    return "\n" not in str(error) and len(str(error)) > 20


def by_id(outcome: Outcome) -> dict[HitId, Any]:
    """The explained hits by id."""
    return {hit.id: hit for hit in outcome.hits}
