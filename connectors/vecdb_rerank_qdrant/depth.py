"""Make a request as deep as the window that is reranked: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from qdrant_client.http import models

from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.dropin import RequestInfo, RerankDepth
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import plain, request_reader
from vecdb_rerank_qdrant.payload_selection import Projection, project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.queries import BATCH_NAMES, TIES
from vecdb_rerank_qdrant.request_reader import GROUP_SIZE, LIMIT

K = SearchDefaults().k
NativeRequest = TypeVar("NativeRequest", models.QueryRequest, Mapping[str, Any])


def deepen(
    request: NativeRequest,
    k: int = K,
    text_fields: TextFields | None = None,
    rerank_depth: RerankDepth = "window",
) -> NativeRequest:
    """Return ``request`` made ``k`` hits deep from the first hit: the same for all its pages.

    ``request`` is a `QueryRequest`, or the keyword arguments of ``query_points`` or
    ``query_points_groups``. The limit becomes at least ``k`` (groups: ``k`` hits in all), the
    offset is dropped, and the payload brings ``text_fields`` and what a formula reads. Prefetches
    that are fused become at least ``k`` deep. Prefetches that the query rescores keep their limits,
    because those decide which points can be hits. `TIES` more hits are fetched: Qdrant orders equal
    scores differently from call to call, and (score, id) then decides which hit is the k-th.

    With ``rerank_depth="own"`` only the payload changes.

    The function is pure. It returns ``request`` itself if that is deep enough or is not reranked
    (recommend, order_by, ...; a page of a dense query past the window).
    """
    arguments = plain.arguments_of(request) if isinstance(request, models.QueryRequest) else request
    read = plain.request(arguments)
    info = request_reader.read(read, k, rerank_depth)
    if info.obstacle is not None or (info.tail_follows and info.offset >= k):
        return request
    paths = needed_paths(text_fields or TextFields(), read)
    projection = project(plain.selector(arguments), paths)
    return deepen_request(request, arguments, info, k, projection)


def needed_paths(text_fields: TextFields, request: request_reader.Request) -> tuple[str, ...]:
    """Return the paths into the payload that are read: those of the text and of a formula."""
    return (*text_fields.paths, *request_reader.payload_keys(request))


def within(info: RequestInfo, k: int, most: int, *, groups: bool) -> int:
    """Return how many of ``k`` hits are reranked if a search may ask for ``most`` hits.

    If the hits past the window follow it, the window is a whole number of pages, so that no page
    needs more hits than are allowed.
    """
    if groups:
        return min(k, most)
    if not info.tail_follows:
        return min(k, max(most - TIES, min(info.limit, most)))
    fits = min(k, most)
    if fits + info.limit <= most or not 0 < info.limit <= fits:
        return fits
    return fits // info.limit * info.limit


def deepen_request(
    request: NativeRequest,
    arguments: Arguments,
    info: RequestInfo,
    k: int,
    projection: Projection,
    most: int | None = None,
) -> NativeRequest:
    """Do what `deepen` does for a request that has been read already.

    ``most`` is how many hits a search of the collection may ask for.
    """
    changes = {} if info.own_depth else _depth(arguments, info, k, most)
    if projection.show != "all":
        changes["with_payload"] = projection.selector
    if not changes:
        return request
    if isinstance(request, models.QueryRequest):
        return request.model_copy(update={BATCH_NAMES[n]: value for n, value in changes.items()})
    return {**request, **changes}


def with_text_alone(request: NativeRequest, projection: Projection) -> NativeRequest:
    """Return a request that brings the text that ``projection`` selects, and no vectors."""
    changes = {"with_payload": projection.selector, "with_vectors": False}
    if isinstance(request, models.QueryRequest):
        return request.model_copy(update={BATCH_NAMES[n]: value for n, value in changes.items()})
    return {**request, **changes}


def _depth(arguments: Arguments, info: RequestInfo, k: int, most: int | None) -> dict[str, object]:
    changes: dict[str, object] = {}
    prefetch = arguments.get("prefetch")
    if request_reader.is_fusion(plain.value(arguments.get("query"))):
        changes = _changed_prefetch(prefetch, k)
    if (limit := _limit(arguments, info, k, most)) != info.limit:
        changes["limit"] = limit
    if info.offset:
        changes["offset"] = None
    return changes


def _limit(arguments: Arguments, info: RequestInfo, k: int, most: int | None) -> int:
    if "group_by" in arguments:
        size = request_reader.number(arguments, "group_size", GROUP_SIZE)
        wanted = math.ceil(k / size)
        return max(info.limit, wanted if most is None else min(wanted, most // size))
    if not info.offset and info.limit >= k:
        return info.limit
    wanted = max(k + TIES, info.offset + info.limit if info.tail_follows else 0)
    return wanted if most is None else max(info.limit, min(wanted, most))


def _changed_prefetch(prefetch: object, k: int) -> dict[str, object]:
    """The prefetches of a fusion made at least ``k`` deep; nothing if they are."""
    deeper = _deeper(prefetch, k)
    return {} if deeper is prefetch else {"prefetch": deeper}


def _deeper(prefetch: object, k: int) -> object:
    if isinstance(prefetch, list | tuple):
        deeper = [_deeper(branch, k) for branch in prefetch]
        same = all(one is other for one, other in zip(deeper, prefetch, strict=True))
        return prefetch if same else type(prefetch)(deeper)
    if isinstance(prefetch, models.Prefetch):
        changes = _branch(dict(prefetch), k)
        return prefetch.model_copy(update=changes) if changes else prefetch
    if isinstance(prefetch, Mapping):
        changes = _branch(prefetch, k)
        return {**prefetch, **changes} if changes else prefetch
    return prefetch


def _branch(branch: Mapping[str, object], k: int) -> dict[str, object]:
    changes: dict[str, object] = {}
    if request_reader.is_fusion(plain.value(branch.get("query"))):
        changes = _changed_prefetch(branch.get("prefetch"), k)
    if request_reader.number(branch, "limit", LIMIT) < k:
        changes["limit"] = k
    return changes
