"""Search and read documents for a caller, within its collection, filter and deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import (
    ConfigurationError,
    DatabaseError,
    FirstPassError,
    VecdbRerankError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.model import Candidate, HitId
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.search.clock import ending_by
from vecdb_rerank.search.connector import AsyncConnector
from vecdb_rerank.search.store import Store
from vecdb_rerank.server.checks.admission import CallerDeadline
from vecdb_rerank.server.checks.keys import Caller
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.search.body import SearchRequest, errors_of_request
from vecdb_rerank.server.service import Service


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search: the native ``response``, in ``seconds``, and what happened."""

    connector: AsyncConnector[object]
    response: object
    outcome: Outcome
    seconds: float

    @property
    def rest(self) -> object:
        """The response as the database's REST API would give it, in the types of JSON."""
        return self.connector.store.rest(self.response, self.seconds)

    @property
    def candidates(self) -> Sequence[Candidate]:
        """The hits in order, in the form shared by all databases."""
        return self.connector.candidates(self.response)


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document with its text."""

    id: HitId
    text: str
    payload: Mapping[str, object]


async def search(
    service: Service, caller: Caller, asked: SearchRequest, deadline: CallerDeadline
) -> Found:
    """Search the collection of ``caller`` for documents that match its own filter, too.

    Raises `ApiError` for what is wrong in the request, and what `AsyncConnector.search` raises.
    """
    connector = await _connector(service, caller)
    store, began = connector.store, time.monotonic()
    required = _required(store, caller)
    try:
        with errors_of_request(), ending_by(deadline), observe() as outcomes:
            response = await connector.search(
                asked.query,
                k=asked.k,
                limit=asked.limit,
                offset=asked.offset,
                mode=asked.mode,
                filter=store.caller_filter(asked.filter, required),
                explain=asked.explain,
            )
    except FirstPassError as error:
        if asked.filter is not None and store.is_refused(error.__cause__):
            problem = f"{store.name} refused it: check its clauses and the types of its fields"
            raise ApiError(422, problem, field="filter") from error
        raise
    return Found(connector, response, outcomes[-1], time.monotonic() - began)


async def document(
    service: Service, caller: Caller, id: HitId, deadline: Deadline
) -> Document | None:
    """Return a document of the collection of ``caller`` that matches its filter, or None.

    Raises `DatabaseError` if the database fails, and `TimeoutError` at the deadline.
    """
    connector = await _connector(service, caller)
    store = connector.store
    try:
        payload = await run_async(store.document(id, _required(store, caller), deadline))
    except (VecdbRerankError, TimeoutError):
        raise
    except Exception as error:
        raise DatabaseError(store.describe_error(error)) from error
    if payload is None:
        return None
    return Document(id, connector.pipeline.text_fields.text(payload), payload)


async def _connector(service: Service, caller: Caller) -> AsyncConnector[object]:
    if not caller.may_use(service.models.default.name):
        raise ApiError(403, "the key may not use the model that searches are reranked with")
    return await service.connectors.find(caller.collection)


def _required(store: Store[object], caller: Caller) -> object:
    """Return the caller's own filter, which is the operator's: wrong, it is no error of a request.

    Raises `ConfigurationError` if it is wrong.
    """
    try:
        return store.caller_filter(None, caller.filter)
    except ConfigurationError as error:
        raise error.within(f"serve.keys.{caller.name}") from error
