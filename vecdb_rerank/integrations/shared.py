"""What the integrations share: searching in either colour, and how scores are told in metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import DOC_ID, Candidate
from vecdb_rerank.outcome import ExplainedHit, Outcome, observe
from vecdb_rerank.search.connector import AsyncDriver, Connector
from vecdb_rerank.text_fields import as_text, lookup

RELEVANCE = "relevance_score"
SCORE = "rerank_score"
RANK = "first_pass_rank"
FIRST_PASS_SCORE = "first_pass_score"
# The keys in a document's metadata, in all frameworks.
MARKS = (RELEVANCE, SCORE, RANK, FIRST_PASS_SCORE)
AnyConnector = Connector[Any, Any, Any, Any, Any]


def marks(
    *, relevance: float | None, score: float | None, rank: int, first_pass_score: Any = None
) -> dict[str, Any]:
    """What is known of a hit, as metadata.

    ``relevance_score`` (0 to 1) and ``rerank_score`` (the final one) are None for a hit that was
    not reranked; ``first_pass_rank`` counts from 1; ``first_pass_score`` is there if it is known.
    """
    known = {RELEVANCE: relevance, SCORE: score, RANK: rank}
    if isinstance(first_pass_score, int | float):
        known[FIRST_PASS_SCORE] = first_pass_score
    return known


@dataclass(frozen=True, slots=True)
class Found:
    """One hit of a search: ``marks`` are those of `marks`, ``score`` is the response's own."""

    id: str
    text: str
    score: float
    metadata: Mapping[str, Any] = field(repr=False)
    marks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a stored document has its text and its metadata.

    ``content_field`` (dotted) is the text, by default that which the connector's `TextFields`
    read; ``metadata_field`` (dotted) holds the metadata, by default the whole document.
    """

    content_field: str | None = None
    metadata_field: str | None = None

    def found(self, candidate: Candidate, hit: ExplainedHit, outcome: Outcome) -> Found:
        """The hit that the search explains as ``hit``."""
        payload = candidate.payload
        text = candidate.text
        if self.content_field is not None:
            text = as_text(lookup(payload, self.content_field))
        metadata = payload if self.metadata_field is None else lookup(payload, self.metadata_field)
        moved = outcome.status in ("reranked", "partial")
        return Found(
            id=str(candidate.doc_id),
            text=text,
            score=candidate.score,
            metadata=_without(metadata, DOC_ID),
            marks=marks(
                relevance=hit.relevance,
                score=hit.score if moved else None,
                rank=hit.first_pass_rank,
                first_pass_score=hit.first_pass_score,
            ),
        )


class Searcher:
    """A connector of either colour, or one of each, as frameworks want to search it.

    A synchronous one is searched in a thread where the framework is asynchronous. An
    asynchronous one alone cannot be searched synchronously: its client belongs to an event loop.
    """

    def __init__(
        self,
        connector: AnyConnector,
        async_connector: AnyConnector | None = None,
        shape: Shape | None = None,
    ) -> None:
        self._shape = shape or Shape()
        if isinstance(connector, AsyncDriver) and async_connector is not None:
            raise ConfigurationError(
                "connector", f"{type(connector).__name__} is asynchronous; give the synchronous one"
            )
        if async_connector is not None and not isinstance(async_connector, AsyncDriver):
            raise ConfigurationError(
                "async_connector",
                f"{type(async_connector).__name__} is synchronous; leave it out, "
                "and the connector is searched in a thread",
            )
        alone = isinstance(connector, AsyncDriver)
        self._sync = None if alone else connector
        self._async = connector if alone else async_connector

    def search(self, query: str, **arguments: Any) -> list[Found]:
        """The hits of `Connector.search`; arguments that are None come from its defaults."""
        if self._sync is None:
            raise ConfigurationError(
                "connector",
                f"{type(self._async).__name__} is asynchronous; use the asynchronous "
                "method, or give a synchronous connector, with this one as async_connector",
            )
        with observe() as outcomes:
            response = _call(self._sync, query, arguments)
        return self._found(self._sync, response, outcomes)

    async def asearch(self, query: str, **arguments: Any) -> list[Found]:
        """`search` without blocking the event loop."""
        if self._async is None:
            return await asyncio.to_thread(self.search, query, **arguments)
        with observe() as outcomes:
            response = await _call(self._async, query, arguments)
        return self._found(self._async, response, outcomes)

    def _found(
        self, connector: AnyConnector, response: Any, outcomes: list[Outcome]
    ) -> list[Found]:
        (outcome,) = outcomes
        candidates = connector.candidates(response)
        return [
            self._shape.found(candidate, hit, outcome)
            for candidate, hit in zip(candidates, outcome.hits, strict=True)
        ]


def _call(connector: Any, query: str, arguments: Mapping[str, Any]) -> Any:
    given = {name: value for name, value in arguments.items() if value is not None}
    return connector.search(query, explain=True, **given)


def _without(metadata: Any, key: str) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        return {}
    return {name: value for name, value in metadata.items() if name != key}
