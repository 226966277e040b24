"""Let the database find the hits that match the filters of boosts: pure functions.

Each filter is a named query beside the search, whatever that is, a hybrid one included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vecdb_rerank._checks import shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.registry import nearest
from vecdb_rerank_opensearch import named_queries

_PREFIX = "vecdb_rerank.after."
# Queries that are of use as a filter, and the places of the queries inside them.
_INNER = {
    "bool": ("must", "should", "filter", "must_not"),
    "constant_score": ("filter",),
    "dis_max": ("queries",),
    "has_child": ("query",),
    "has_parent": ("query",),
    "nested": ("query",),
}
_CLAUSES = (
    *_INNER,
    *("exists", "fuzzy", "geo_bounding_box", "geo_distance", "geo_polygon", "geo_shape", "ids"),
    *("intervals", "match", "match_all", "match_bool_prefix", "match_none", "match_phrase"),
    *("match_phrase_prefix", "multi_match", "parent_id", "prefix", "query_string", "range"),
    *("regexp", "script", "simple_query_string", "span_containing", "span_first", "span_multi"),
    *("span_near", "span_not", "span_or", "span_term", "span_within", "term", "terms"),
    *("terms_set", "wildcard", "wrapper", "xy_shape"),
)


def check(filters: Mapping[str, object]) -> None:
    """Raise `ConfigurationError` that names the clause if one is not a filter."""
    for key, given in filters.items():
        _check(given, key)


def asking(body: Mapping[str, object], filters: Mapping[str, object]) -> dict[str, object]:
    """Return the part of a body that makes its hits tell which of ``filters`` they match."""
    if not filters:
        return {}
    named = [
        {"bool": {"filter": named_queries.silent(given), "_name": f"{_PREFIX}{n}"}}
        for n, given in enumerate(filters.values())
    ]
    return named_queries.asking(body, named)


def matching(hits: Sequence[Mapping[str, object]], count: int) -> list[Collection[int]]:
    """Return for each of ``count`` filters the places of the hits that match it."""
    names = [named_queries.names(hit) for hit in hits]
    return [{n for n, given in enumerate(names) if f"{_PREFIX}{c}" in given} for c in range(count)]


def stripped(hit: Mapping[str, object]) -> Mapping[str, Any]:
    """Return a hit without the names of these filters."""
    return named_queries.stripped(hit, _PREFIX)


def aggregations_stripped(response: Mapping[str, object], count: int) -> dict[str, Any]:
    """Return a response without the names of ``count`` filters in its aggregations."""
    return named_queries.aggregations_stripped(response, _PREFIX) if count else dict(response)


def _check(given: object, key: str) -> None:
    if isinstance(given, list | tuple):
        for n, one in enumerate(given):
            _check(one, f"{key}.{n}")
        return
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ConfigurationError(
            key, f'must be a query such as {{"term": {{"in_stock": true}}}}, got {shown(given)}'
        )
    [(name, parameters)] = given.items()
    if name not in _CLAUSES:
        hint = nearest(str(name), _CLAUSES)
        raise ConfigurationError(f"{key}.{name}", f"is not a filter of OpenSearch; {hint}")
    for inner in _INNER.get(name, ()):
        if isinstance(parameters, Mapping) and inner in parameters:
            _check(parameters[inner], f"{key}.{name}.{inner}")
