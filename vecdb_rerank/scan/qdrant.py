"""What becomes of each call of a Qdrant client."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.scan.rulings import (
    Arguments,
    Clients,
    Reading,
    Ruling,
    batch,
    bound,
    has_query,
    passed,
    refused,
    ruling,
    without_unknown,
)
from vecdb_rerank.scan.values import Open, as_list, is_unknown, known_part
from vecdb_rerank_qdrant import request_reader

_POINTS = ("collection_name", "query", "using", "prefetch", "query_filter", "search_params")
_GROUPS = ("collection_name", "group_by", *_POINTS[1:])
_OTHERS = (
    "limit offset group_size with_payload with_vectors score_threshold with_lookup lookup_from "
    "consistency shard_key_selector timeout rerank rerank_query instruction"
).split()
_NUMBERS = ("limit", "offset", "group_size")
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


def rulings(
    method: str, positional: Sequence[object], named: Arguments, clients: Clients
) -> list[Ruling]:
    """Return the rulings on one call, one a request; none for a method that does not search."""
    if method in _READS:
        return [passed(f"{method}: {_READS[method]}")]
    if method in _REMOVED:
        return [refused(f"{method}: qdrant-client removed it; use query_points")]
    if method == "query_batch_points":
        return _batch(bound(("collection_name", "requests"), positional, named), clients)
    if method not in ("query_points", "query_points_groups"):
        return []
    names = _GROUPS if method == "query_points_groups" else _POINTS
    unknown = [name for name in known_part(named) if name not in (*names, *_OTHERS)]
    if unknown:
        return [refused(f"{unknown[0]}: not an argument of {method}")]
    arguments = bound(names, positional, named)
    return [ruling(arguments, lambda: _read(arguments, arguments, clients), clients)]


def _batch(arguments: Arguments, clients: Clients) -> list[Ruling]:
    requests = as_list(known_part(arguments).get("requests"))
    if requests is None:
        own = {n: v for n, v in known_part(arguments).items() if n == "rerank"}
        query = {"query": known_part(arguments).get("requests")}
        return [ruling(own, lambda: _read(query, own, clients), clients)]
    return batch(arguments, len(requests), lambda n, own: _member(requests[n], own, clients))


def _member(request: object, own: Arguments, clients: Clients) -> Ruling:
    is_mapping = not is_unknown(request) and isinstance(request, dict | Open)
    arguments: Arguments = request if is_mapping else {"query": request}  # type: ignore[assignment]
    return ruling(own, lambda: _read(arguments, own, clients), clients)


def _read(arguments: Arguments, own: Arguments, clients: Clients) -> Reading:
    """Read a request. Queries that are not literal, beside a text, are taken for vectors."""
    is_given = has_query(own)
    request = _plain(arguments, is_given)
    if (obstacle := request_reader.obstacle(request)) is not None:
        return Reading(obstacle)
    texts = () if is_given else request_reader.texts(request)
    in_query = not is_given and request_reader.texts({"query": request.get("query")})
    return Reading(
        texts=texts,
        where="the query" if in_query else "its prefetch",
        is_past=request_reader.number(request, "offset", 0) >= clients.k,
    )


def _plain(request: Arguments, is_given: bool) -> Arguments:
    """Return a request, and its prefetches, with something ordinary for what is not literal."""
    plain = without_unknown(request, _NUMBERS)
    known = dict(known_part(plain))
    if is_given and is_unknown(known.get("query")):
        known["query"] = [0.0]
    prefetch = known.get("prefetch")
    if (branches := as_list(prefetch)) is not None:
        known["prefetch"] = [_branch(branch, is_given) for branch in branches]
    elif prefetch is not None:
        known["prefetch"] = _branch(prefetch, is_given)
    return Open(known) if isinstance(plain, Open) else known


def _branch(branch: object, is_given: bool) -> object:
    if is_unknown(branch) or not isinstance(branch, dict | Open):
        return branch
    return _plain(branch, is_given)
