"""Read the body of a search: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Literal, Self, cast, get_args

import orjson

from vecdb_rerank._checks import check_names, integer, is_bool, is_mapping, one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import MAX_K, Mode, check_query
from vecdb_rerank.server.errors import wrong
from vecdb_rerank.server.json_text import MAX_DEPTH, is_deep

MAX_OFFSET = MAX_K
MAX_QUERY = 10_000  # characters; no embedder or reranker reads more


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A checked search of a caller; None stands for the configured default.

    ``filter`` is JSON in the database's own terms, and its content is not checked yet.
    """

    query: str
    k: int | None = None
    limit: int | None = None
    offset: int = 0
    mode: Mode | None = None
    filter: Mapping[str, object] | list[object] | None = None
    explain: bool = False

    @classmethod
    def of(cls, body: object, *, max_k: int = MAX_K) -> Self:
        """Return the search that ``body`` describes; keys that are null count as missing.

        Raises `ConfigurationError`, whose key is the field, for one that is unknown or wrong.
        ``max_k`` is the highest ``k`` and ``limit``.
        """
        is_mapping("body", body, "field")
        given = {name: value for name, value in cast(_Body, body).items() if value is not None}
        check_names(given, FIELDS)
        check_query(query := given.get("query"))
        query = cast(str, query)
        if len(query) > MAX_QUERY:
            raise ConfigurationError(
                "query", f"must be at most {MAX_QUERY:,} characters, got {len(query):,}"
            )
        if (mode := given.get("mode")) is not None:
            one_of("mode", mode, get_args(Mode))
        is_bool("explain", explain := given.get("explain", False))
        return cls(
            query=query,
            k=_count("k", given.get("k"), max_k),
            limit=_count("limit", given.get("limit"), max_k),
            offset=integer("offset", given.get("offset", 0), 0, MAX_OFFSET),
            mode=cast(Mode | None, mode),
            filter=_filter(given.get("filter")),
            explain=bool(explain),
        )


FIELDS = frozenset(field.name for field in fields(SearchRequest))


@contextmanager
def errors_of_request(known: Collection[str] | None = FIELDS) -> Iterator[None]:
    """Raise `ApiError` (422) for a `ConfigurationError` of the block that is about a request.

    Its key is one of the ``known`` fields or a place in one; with None, every one is.
    """
    try:
        yield
    except ConfigurationError as error:
        if known is not None and error.key.partition(".")[0] not in known:
            raise
        raise wrong(error.key, error.problem) from error


_Body = Mapping[str, object]


def _count(key: Literal["k", "limit"], given: object, most: int) -> int | None:
    return None if given is None else integer(key, given, 1, most)


def _filter(given: object) -> Mapping[str, object] | list[object] | None:
    if given is None:
        return None
    if not isinstance(given, dict | list):
        raise ConfigurationError("filter", "must be an object, or a list of objects")
    if is_deep(given):
        raise ConfigurationError("filter", f"must not be nested more than {MAX_DEPTH} levels deep")
    try:
        orjson.dumps(given)
    except TypeError as error:  # lone surrogates, or numbers of more than 64 bits
        raise ConfigurationError("filter", f"no database reads it: {error}") from None
    return given
