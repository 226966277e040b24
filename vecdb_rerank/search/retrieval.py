"""What a search asks of the embedder and the database: query vector, first pass, payloads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from vecdb_rerank import telemetry
from vecdb_rerank.embedders.flows import query_vector
from vecdb_rerank.errors import (
    ConfigurationError,
    EmbedderError,
    FirstPassError,
    FirstPassTimeoutError,
    SchemaError,
    VecdbRerankError,
)
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Ranking
from vecdb_rerank.protocols import Database, Embedder, FirstPass, Vector
from vecdb_rerank.request import Search
from vecdb_rerank.search.clock import SearchRun
from vecdb_rerank.text_fields import TextFields

R = TypeVar("R")
_EMBEDDING_SHARE = 0.5  # of the time left, so that BM25 and the reranker have time if it fails


def retrieve(
    database: Database[R],
    search: Search,
    run: SearchRun,
    embedder: Embedder | None,
    text_fields: TextFields,
) -> Flow[tuple[Search, FirstPass[R]]]:
    """Return the first pass, and the search that it answers.

    That is BM25 alone if the embedder of a hybrid search fails. Raises `FirstPassError` if the
    database fails, or the embedder of another search.
    """
    try:
        vector = yield from _query_vector(embedder, search, run)
    except FirstPassError as failed:
        why = _outage(embedder, failed.__cause__)
        if why is None or not _may_fall_back(search, run) or run.deadline.expired:
            raise
        note = f"the query could not be embedded, so BM25 alone was searched: {why}"
        search = replace(search, mode="bm25", notes={"embedder_failed": note})
        run.span.set({"mode": search.mode})
        try:
            first = yield from _first_pass(database, search, None, run)
        except SchemaError:  # the collection lacks the branch: without the outage, dense hits
            raise failed from failed.__cause__
        if "dead_branch" in first.notes and not database.candidates(first, text_fields):
            raise
        return search, first
    return search, (yield from _first_pass(database, search, vector, run))


def _query_vector(embedder: Embedder | None, search: Search, run: SearchRun) -> Flow[Vector | None]:
    if not search.needs_vector or search.query_vector is not None:
        return _plain(search.query_vector)
    if embedder is None:
        raise ConfigurationError(
            "query_vector", f"mode={search.mode!r} needs it, since no embedder is configured"
        )
    deadline = run.deadline
    if _may_fall_back(search, run):
        deadline = deadline.at_most(_EMBEDDING_SHARE * deadline.remaining())
    with run.clock.stage("embed"):
        try:
            vector = _plain((yield from query_vector(embedder, search.query, deadline)))
            if vector is None or not all(map(math.isfinite, vector)):
                raise EmbedderError("the embedder did not return a vector of finite numbers")
            return vector
        except TimeoutError as error:
            raise FirstPassTimeoutError("embedding the query took too long") from error
        except VecdbRerankError as error:
            if not isinstance(error, EmbedderError):
                raise
            raise FirstPassError(f"embedding the query failed: {error}") from error
        except Exception as error:
            raise FirstPassError(f"embedding the query failed: {error}") from error


def _may_fall_back(search: Search, run: SearchRun) -> bool:
    """Return whether the search goes on without its vector if the embedder fails."""
    return search.mode == "hybrid" and run.policy.on_error == "fallback"


def _outage(embedder: Embedder | None, error: BaseException | None) -> str | None:
    """Return how the embedder failed; None if it does not fit its settings."""
    if isinstance(error, EmbedderError):
        return str(error) if error.is_outage else None
    name = getattr(embedder, "name", type(embedder).__name__)
    if isinstance(error, TimeoutError):
        return f"{name} did not answer in time"
    # The type alone: the message of a foreign error may hold the query.
    return f"{name} failed with {type(error).__name__}"


def _first_pass(
    database: Database[R], search: Search, vector: Vector | None, run: SearchRun
) -> Flow[FirstPass[R]]:
    deadline = run.deadline
    try:
        with run.clock.stage("first_pass"):
            first = yield from database.first_pass(search, vector, deadline)
    except VecdbRerankError:
        raise
    except Exception as error:
        described = database.describe_error(error)
        if deadline.expired or isinstance(error, TimeoutError):
            raise FirstPassTimeoutError(
                f"{database.name} did not answer before the deadline ({described})"
            ) from error
        raise FirstPassError(described) from error
    if deadline.expired:
        raise FirstPassTimeoutError(
            f"{database.name} answered after the deadline of {run.policy.deadline} s"
        )
    return first


def completed(
    backend: str, first: FirstPass[R], page: Ranking, run: SearchRun
) -> Flow[FirstPass[R]]:
    """Bring what the hits of the page lack, if the first pass left something out."""
    if first.complete is None or not page.hits:
        return first
    try:
        with run.clock.stage("payload"):
            response = yield from first.complete(page, run.deadline)
    except Exception as error:
        telemetry.count_failed(backend, error)
        if isinstance(error, TimeoutError) and not isinstance(error, VecdbRerankError):
            raise FirstPassTimeoutError(
                f"{backend} did not send the payloads of the page before the deadline"
            ) from error
        raise
    return replace(first, response=response)


def _plain(vector: Vector | None) -> Vector | None:
    """Plain floats: an array has no truth value, and no place in a JSON request."""
    return None if vector is None else [float(x) for x in vector]
