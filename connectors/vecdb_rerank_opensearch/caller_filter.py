"""Check the filters of callers who are not trusted, and add those they cannot escape: pure.

A filter may read the documents of the searched index, and nothing else: no script, no document of
another index. So only the queries listed here pass, each with the parameters that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vecdb_rerank._checks import json_kind
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.registry import nearest

# Queries of queries: the places of the inner ones, and their other parameters.
_COMPOUND = {
    "bool": (("must", "should", "filter", "must_not"), ("minimum_should_match",)),
    "constant_score": (("filter",), ()),
    "dis_max": (("queries",), ("tie_breaker",)),
    "nested": (("query",), ("path", "score_mode", "ignore_unmapped")),
    "has_child": (
        ("query",),
        ("type", "min_children", "max_children", "score_mode", "ignore_unmapped"),
    ),
    "has_parent": (("query",), ("parent_type", "score", "ignore_unmapped")),
}
# They tell of other documents of the index, which a required filter may exclude.
_JOINS = ("has_child", "has_parent", "parent_id")
# Queries whose parameters are plain values, or an object of plain values by field.
_PLAIN = (
    *("exists", "fuzzy", "ids", "match", "match_all", "match_bool_prefix", "match_none"),
    *("match_phrase", "match_phrase_prefix", "multi_match", "parent_id", "prefix", "query_string"),
    *("range", "regexp", "simple_query_string", "term", "terms", "terms_set", "wildcard"),
)
_GEO = ("geo_bounding_box", "geo_distance", "geo_polygon", "geo_shape", "xy_shape")
_COMMON = ("boost",)  # no `_name`: names of queries are for the connector's own


def combined(given: object, required: object = None) -> list[object] | None:
    """Return the queries that a caller's search has to match: ``required`` and ``given``.

    ``required`` is trusted. Each of the queries has to match by itself, so nothing in ``given``
    widens ``required``. Raises `ConfigurationError` (key ``filter…``) if ``given`` is not a filter
    that a caller may use.
    """
    found = [*_listed(required)]
    allowed = [n for n in (*_COMPOUND, *_PLAIN, *_GEO) if required is None or n not in _JOINS]
    for key, query in _places(given, "filter"):
        _check(query, key, allowed)
        found.append(query)
    return found or None


def _listed(queries: object) -> list[object]:
    return [] if queries is None else queries if isinstance(queries, list) else [queries]


def _places(queries: object, key: str) -> Iterable[tuple[str, object]]:
    """Return the queries of one place, with the key of each."""
    if isinstance(queries, list):
        return [(f"{key}.{n}", query) for n, query in enumerate(queries)]
    return [] if queries is None else [(key, queries)]


def _check(query: object, key: str, allowed: list[str]) -> None:
    if not isinstance(query, Mapping) or len(query) != 1:
        raise ConfigurationError(
            key, f'must be a query such as {{"term": {{"year": 2024}}}}, got {json_kind(query)}'
        )
    [(name, parameters)] = query.items()
    key = f"{key}.{name}"
    if name not in allowed:
        raise ConfigurationError(key, f"is not allowed in a filter; {nearest(str(name), allowed)}")
    if not isinstance(parameters, Mapping):
        raise ConfigurationError(key, f"must be an object, got {json_kind(parameters)}")
    if name in _COMPOUND:
        inner, others = _COMPOUND[name]
        for part, value in parameters.items():
            if part in inner:
                for place, one in _places(value, f"{key}.{part}"):
                    _check(one, place, allowed)
            elif part in others or part in _COMMON:
                _check_plain(value, f"{key}.{part}")
            else:
                raise ConfigurationError(f"{key}.{part}", "is not allowed in a filter")
    elif name in _GEO:
        _check_shape(parameters, key)
    else:
        _check_leaf(name, parameters, key)


def _check_leaf(name: str, parameters: Mapping[str, object], key: str) -> None:
    for part, value in parameters.items():
        if part == "_name":
            raise ConfigurationError(f"{key}.{part}", "is not allowed in a filter")
        if name == "terms" and isinstance(value, Mapping):
            raise ConfigurationError(
                f"{key}.{part}", "must be a list: values of another document are not looked up"
            )
        if isinstance(value, Mapping):
            for option, inner in value.items():
                if option == "_name" or option.endswith("script"):
                    raise ConfigurationError(f"{key}.{part}.{option}", "is not allowed in a filter")
                _check_plain(inner, f"{key}.{part}.{option}")
        else:
            _check_plain(value, f"{key}.{part}")


def _check_plain(value: object, key: str) -> None:
    """Raise unless ``value`` is a plain value or a list of plain values: a script is neither."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, Mapping | list) for one in values):
        raise ConfigurationError(key, "must be a plain value or a list of plain values")


def _check_shape(value: object, key: str) -> None:
    """Raise if a shape, however nested, comes from another document, or the query has a name."""
    if isinstance(value, list):
        for n, one in enumerate(value):
            _check_shape(one, f"{key}.{n}")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if name in ("indexed_shape", "_name"):
                raise ConfigurationError(f"{key}.{name}", "is not allowed in a filter")
            _check_shape(one, f"{key}.{name}")
