"""Ask for named queries beside a search, and take their names out of its hits: pure functions.

A ``post_filter`` that every hit passes leaves hits and scores as they are. OpenSearch evaluates the
named queries in it for the hits of the response alone, and lists those that a hit matches in its
``matched_queries``: https://docs.opensearch.org/latest/query-dsl/#named-queries
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

MATCHED = "matched_queries"


def asking(
    body: Mapping[str, object], queries: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """Return the part of a body that asks for ``queries``, which have names, beside its own."""
    own = body.get("post_filter") or {"match_all": {}}
    return {"post_filter": {"bool": {"filter": own, "should": queries, "minimum_should_match": 0}}}


def silent(query: object) -> object:
    """Return a query that shows nothing in hits by itself: without its own names and inner hits."""
    if isinstance(query, str):  # first: the scanner's unknown values answer this question alone
        return query
    if isinstance(query, list | tuple):
        return [silent(one) for one in query]
    if not isinstance(query, Mapping):
        return query
    shown = ("_name", "inner_hits") if "query" in query else ("_name",)
    return {name: silent(value) for name, value in query.items() if name not in shown}


def stripped(
    hit: Mapping[str, object], prefix: str, *, with_scores: bool = True
) -> Mapping[str, Any]:
    """Return a hit without the names that begin with ``prefix``, in its inner hits too.

    Names that came with scores keep them only ``with_scores``.
    """
    changed = hit
    if isinstance(inner := hit.get("inner_hits"), Mapping):  # of a collapse: the same query
        cut = {name: _inside(found, prefix, with_scores) for name, found in inner.items()}
        changed = {**hit, "inner_hits": cut}
    if not (given := names(hit)):
        return changed
    kept = [name for name in given if not str(name).startswith(prefix)]
    if not kept:
        return {key: value for key, value in changed.items() if key != MATCHED}
    if isinstance(given, Mapping) and with_scores:
        return {**changed, MATCHED: {name: given[name] for name in kept}}
    return {**changed, MATCHED: kept}  # in its place


def names(hit: Mapping[str, object]) -> Collection[object]:
    """Return the names of the queries that a hit matches: a mapping if they have scores."""
    given = hit.get(MATCHED)
    return given if isinstance(given, Mapping | list) else ()


def aggregations_stripped(
    response: Mapping[str, object], prefix: str, *, with_scores: bool = True
) -> dict[str, Any]:
    """Return a response with such names taken out of the hits of its aggregations (`top_hits`)."""
    if (given := response.get("aggregations")) is None:
        return dict(response)
    return {**response, "aggregations": _below(given, prefix, with_scores)}


def _below(value: object, prefix: str, with_scores: bool) -> object:
    if isinstance(value, list):
        return [_below(one, prefix, with_scores) for one in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(hits := value.get("hits"), Mapping) and isinstance(hits.get("hits"), list):
        return _inside(value, prefix, with_scores)
    return {name: _below(one, prefix, with_scores) for name, one in value.items()}


def _inside(found: object, prefix: str, with_scores: bool) -> object:
    if not isinstance(found, Mapping):
        return found
    hits = found.get("hits")
    if not isinstance(hits, Mapping) or not isinstance(hits.get("hits"), list):
        return found
    cut = [stripped(hit, prefix, with_scores=with_scores) for hit in hits["hits"]]
    return {**found, "hits": {**hits, "hits": cut}}
