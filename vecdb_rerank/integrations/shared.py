"""What the integrations share: searching a connector, and scores in a document's metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from vecdb_rerank._checks import integer, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import DOC_ID, Candidate
from vecdb_rerank.outcome import ExplainedHit, Outcome, observe
from vecdb_rerank.search.connector import AsyncConnector
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.text_fields import as_text, lookup

RELEVANCE = "relevance_score"
SCORE = "rerank_score"
RANK = "first_pass_rank"
FIRST_PASS_SCORE = "first_pass_score"
SCORE_KEYS = (RELEVANCE, SCORE, RANK, FIRST_PASS_SCORE)
"""The keys of the scores in a document's metadata, in all frameworks."""
Scored = Mapping[str, float | None]


@runtime_checkable
class SearchableConnector(Protocol):
    """What an integration needs of a connector, synchronous or asynchronous."""

    pipeline: Pipeline

    def search(self, *args: Any, **kwargs: Any) -> Any:
        """Return the native response, or an awaitable of it."""

    def candidates(self, response: Any) -> Sequence[Candidate]:
        """Return the hits of a native response."""


def score_metadata(
    *, relevance: float | None, score: float | None, rank: int, first_pass_score: object = None
) -> dict[str, float | None]:
    """Return the scores of a document as metadata.

    ``relevance_score`` (0 to 1) and ``rerank_score`` (the final score) are None if the reranker did
    not score the document. ``first_pass_rank`` counts from 1. ``first_pass_score`` is left out
    unless it is a number.
    """
    final = None if relevance is None else score
    known: dict[str, float | None] = {RELEVANCE: relevance, SCORE: final, RANK: rank}
    if isinstance(first_pass_score, int | float):
        known[FIRST_PASS_SCORE] = first_pass_score
    return known


def payload_of(metadata: Mapping[str, object], document_id: str | None) -> Mapping[str, object]:
    """Return what the stages of `Policy.after` read of a framework's document."""
    return metadata if document_id is None else {**metadata, DOC_ID: document_id}


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A hit of a search: ``score`` is that of the response, ``scores`` is `score_metadata`."""

    id: str
    text: str
    score: float
    metadata: Mapping[str, object] = field(repr=False)
    scores: Scored = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PayloadShape:
    """Where a stored payload has the text and the metadata of a document.

    ``content_field`` is the dotted path of the text (default: the text that the connector's
    `TextFields` read), ``metadata_field`` that of the metadata (default: the whole payload).
    """

    content_field: str | None = None
    metadata_field: str | None = None

    def document(self, candidate: Candidate, hit: ExplainedHit) -> FoundDocument:
        """Return the document of a hit."""
        payload: object = candidate.payload
        text = candidate.text
        if self.content_field is not None:
            text = as_text(lookup(payload, self.content_field))
        metadata = payload if self.metadata_field is None else lookup(payload, self.metadata_field)
        return FoundDocument(
            id=str(candidate.doc_id),
            text=text,
            score=candidate.score,
            metadata=_without_id(metadata),
            scores=score_metadata(
                relevance=hit.relevance,
                score=hit.score,
                rank=hit.first_pass_rank,
                first_pass_score=hit.first_pass_score,
            ),
        )


class Searcher:
    """Searches a synchronous or an asynchronous connector, or one of each.

    If there is only a synchronous connector, `asearch` searches it in a thread. If there is only an
    asynchronous one, `search` raises `ConfigurationError`: its client belongs to an event loop.
    """

    def __init__(
        self,
        connector: SearchableConnector,
        async_connector: SearchableConnector | None = None,
        shape: PayloadShape | None = None,
    ) -> None:
        check_connector("connector", connector)
        self._shape = shape or PayloadShape()
        is_async = isinstance(connector, AsyncConnector)
        if is_async and async_connector is not None:
            raise ConfigurationError(
                "connector", f"must be synchronous, got {type(connector).__name__}"
            )
        if async_connector is not None and not isinstance(async_connector, AsyncConnector):
            raise ConfigurationError(
                "async_connector",
                f"must be asynchronous, got {type(async_connector).__name__}; leave it out to "
                "search the synchronous connector in a thread",
            )
        self._sync = None if is_async else connector
        self._async = connector if is_async else async_connector

    def search(self, query: str, **options: object) -> list[FoundDocument]:
        """Search the synchronous connector; options that are None get its defaults."""
        if self._sync is None:
            raise ConfigurationError(
                "connector",
                f"{type(self._async).__name__} is asynchronous; call the asynchronous method, or "
                "give a synchronous connector and this one as async_connector",
            )
        with observe() as outcomes:
            response = self._sync.search(query, explain=True, **_given(options))
        return self._documents(self._sync, response, outcomes)

    async def asearch(self, query: str, **options: object) -> list[FoundDocument]:
        """Do the same as `search` without blocking the event loop."""
        if self._async is None:
            return await asyncio.to_thread(self.search, query, **options)
        with observe() as outcomes:
            response = await self._async.search(query, explain=True, **_given(options))
        return self._documents(self._async, response, outcomes)

    def _documents(
        self, connector: SearchableConnector, response: object, outcomes: Sequence[Outcome]
    ) -> list[FoundDocument]:
        [outcome] = outcomes
        pairs = zip(connector.candidates(response), outcome.hits, strict=True)
        return [self._shape.document(candidate, hit) for candidate, hit in pairs]


def check_connector(key: str, given: object) -> None:
    """Raise `ConfigurationError` unless ``given`` is a connector."""
    if not callable(getattr(given, "candidates", None)):
        raise ConfigurationError(
            key,
            "must be a connector, such as QdrantConnector(client, collection) or connect(); got "
            f"{shown(given)}",
        )


def check_documents(key: str, given: object, kind: type) -> None:
    """Raise `ConfigurationError` unless ``given`` is a sequence of ``kind``."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ConfigurationError(key, f"must be a list of {kind.__name__}, got {shown(given)}")
    for position, each in enumerate(given):
        if not isinstance(each, kind):
            raise ConfigurationError(
                f"{key}[{position}]", f"must be a {kind.__name__}, got {shown(each)}"
            )


def check_top(key: str, given: int | None) -> int | None:
    """Return the number of documents to return as an int; None for all."""
    return None if given is None else integer(key, given, 1)


def _given(options: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _without_id(metadata: object) -> dict[str, object]:
    if not isinstance(metadata, Mapping):
        return {}
    return {name: value for name, value in metadata.items() if name != DOC_ID}
