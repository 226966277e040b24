"""What becomes of each call of a Qdrant client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vecdb_rerank.scan.rulings import (
    Ruling,
    bound,
    by_texts,
    each,
    has_query,
    hides,
    missing,
    passed,
    refused,
    reranked,
    switched,
    undecided,
)
from vecdb_rerank.scan.values import Made, Unknown

_POINTS = ("collection_name", "query", "using", "prefetch", "query_filter", "search_params")
_GROUPS = ("collection_name", "group_by", *_POINTS[1:])
_OTHERS = (
    "limit offset group_size with_payload with_vectors score_threshold with_lookup lookup_from "
    "consistency shard_key_selector timeout rerank rerank_query"
).split()
# Queries whose order is not one by relevance to a text.
_NOT_BY_TEXT = {
    "RecommendQuery": "recommend: hits are like other points",
    "DiscoverQuery": "discover: hits are like other points",
    "ContextQuery": "context: hits are like other points",
    "RelevanceFeedbackQuery": "relevance_feedback: hits are like other points",
    "OrderByQuery": "order_by: the order is that of a field",
    "SampleQuery": "sample: hits are drawn by chance",
}
_READS = {
    "scroll": "no ranking",
    "retrieve": "points by id",
    "count": "a count",
    "facet": "counts by value",
    "search_matrix_pairs": "distances between points",
    "search_matrix_offsets": "distances between points",
}
_REMOVED = (
    "search search_batch search_groups recommend recommend_batch recommend_groups discover "
    "discover_batch query query_batch"
).split()
# What a client brings besides its own methods; nothing wraps it.
RAW = ("http", "rest", "openapi_client", "grpc_points", "async_grpc_points")


def rulings(method: str, positional: Sequence[Any], named: Mapping[Any, Any]) -> list[Ruling]:
    """The rulings on one call, one a request; none for a method that does not search."""
    if method in _READS:
        return [passed(f"{method}: {_READS[method]}")]
    if method in _REMOVED:
        return [refused(f"{method}: qdrant-client has it no more; use query_points")]
    if method == "query_batch_points":
        return _batch(bound(("collection_name", "requests"), positional, named))
    if method not in ("query_points", "query_points_groups"):
        return []
    names = _GROUPS if method == "query_points_groups" else _POINTS
    unknown = [name for name in named if isinstance(name, str) and name not in (*names, *_OTHERS)]
    if unknown:
        return [refused(f"{unknown[0]}: no argument of {method}")]
    return [_ruling(bound(names, positional, named))]


def _batch(arguments: Mapping[Any, Any]) -> list[Ruling]:
    given = arguments.get("requests")
    if not isinstance(given, list):
        return [switched(arguments) or undecided(given, "requests")]
    own = each(arguments, len(given))
    if isinstance(own, Ruling):
        return [own]
    return [_member(request, also) for request, also in zip(given, own, strict=True)]


def _member(request: Any, also: Mapping[str, Any]) -> Ruling:
    if not isinstance(request, Made):
        return switched(also) or undecided(request, "request")
    return _ruling({**request.arguments, **also})


def _ruling(arguments: Mapping[Any, Any]) -> Ruling:
    if (off := switched(arguments)) is not None:
        return off
    query, prefetch = arguments.get("query"), arguments.get("prefetch")
    if hides(arguments, query):
        return undecided(None, "the query")
    if (why := _obstacle(query, prefetch, arguments)) is not None:
        return passed(why)
    if has_query(arguments):
        return reranked("by rerank_query")
    texts = list(_texts([query, prefetch]))
    known = [text for text in texts if not isinstance(text, _Hidden)]
    if known:
        return by_texts(known, "the query" if list(_texts(query)) else "its prefetch")
    hidden = next((text.value for text in texts), None)
    return missing() if hidden is None else undecided(hidden, "the query")


def _obstacle(query: Any, prefetch: Any, arguments: Mapping[Any, Any]) -> str | None:
    """Why a request is not to be reranked, whatever its text."""
    if query is None:
        return "no query: points come in the order of their ids"
    if isinstance(query, Made) and query.arguments.get("mmr") is not None:
        return "mmr: the order is for variety"
    if _name(query) in _NOT_BY_TEXT:
        return _NOT_BY_TEXT[_name(query)]
    if any(_name(_part(branch, "query")) == "SampleQuery" for branch in _branches(prefetch)):
        return "sample: hits of a prefetch are drawn by chance"
    if 0 in (arguments.get("limit"), arguments.get("group_size")):
        return "limit: 0, no hits are wanted"
    return None


def _branches(prefetch: Any) -> Iterator[Any]:
    """All prefetches of a tree."""
    for branch in prefetch if isinstance(prefetch, list) else [prefetch]:
        if branch is not None:
            yield branch
            yield from _branches(_part(branch, "prefetch"))


def _part(branch: Any, name: str) -> Any:
    return branch.arguments.get(name) if isinstance(branch, Made) else None


class _Hidden:
    """Something that may be a text."""

    def __init__(self, value: Unknown) -> None:
        self.value = value


def _texts(value: Any) -> Iterator[Any]:
    """The texts inside a query and its prefetches, or what may be one."""
    if isinstance(value, list):
        for item in value:
            # The numbers of a vector are no queries.
            if isinstance(item, Made | list):
                yield from _texts(item)
            elif isinstance(item, Unknown) and not item.computed:
                yield _Hidden(item)
    elif isinstance(value, Unknown) and not value.computed:
        yield _Hidden(value)
    elif isinstance(value, Made):
        name = _name(value)
        if name in ("Document", "TextQuery"):
            text = value.arguments.get("text", next(iter(value.positional), None))
            if text is not None:
                yield text
        elif name in ("Prefetch", "NearestQuery"):
            for key in ("nearest", "query", "prefetch"):
                yield from _texts(value.arguments.get(key))


def _name(value: Any) -> str:
    return value.name.rpartition(".")[2] if isinstance(value, Made) else ""
