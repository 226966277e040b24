"""Read the body of a search: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Self, get_args

import orjson

from vecdb_rerank._checks import json_kind
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import MAX_K, Mode
from vecdb_rerank.server.errors import wrong
from vecdb_rerank.server.json_text import MAX_DEPTH, is_deep
from vecdb_rerank.server.requests import fields
from vecdb_rerank.server.requests.fields import Body

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
    def of(cls, body: Body, *, max_k: int = MAX_K) -> Self:
        """Return the search that ``body`` describes; fields that are null count as missing.

        Raises `ApiError` that names the field which is unknown or wrong. ``max_k`` is the highest
        ``k`` and ``limit``.
        """
        fields.check_names({k: v for k, v in body.items() if v is not None}, _FIELDS)
        return cls(
            query=fields.text(body, "query", MAX_QUERY),
            k=fields.count(body, "k", 1, max_k),
            limit=fields.count(body, "limit", 1, max_k),
            offset=fields.count(body, "offset", 0, MAX_OFFSET) or 0,
            mode=fields.one_of(body, "mode", get_args(Mode)),
            filter=_filter(body),
            explain=fields.flag(body, "explain"),
        )


_FIELDS = frozenset(field.name for field in fields_of(SearchRequest))


@contextmanager
def errors_of_request() -> Iterator[None]:
    """Raise `ApiError` (422) for a `ConfigurationError` of the block that is about a request.

    Its key is a field of a search, or a place in one.
    """
    try:
        yield
    except ConfigurationError as error:
        if error.key.partition(".")[0] not in _FIELDS:
            raise
        raise wrong(error.key, error.problem) from error


def _filter(body: Body) -> Mapping[str, object] | list[object] | None:
    given = body.get("filter")
    if given is None:
        return None
    if not isinstance(given, dict | list):
        raise wrong("filter", f"must be an object, or a list of objects, got {json_kind(given)}")
    if is_deep(given):
        raise wrong("filter", f"must not be nested more than {MAX_DEPTH} levels deep")
    try:
        orjson.dumps(given)
    except TypeError as error:  # lone surrogates, or numbers of more than 64 bits
        raise wrong("filter", f"no database reads it: {error}") from None
    return given
