"""A request made as deep as the window that is reranked: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, overload

from qdrant_client.http import models

from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.dropin import RequestInfo
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import request_reader
from vecdb_rerank_qdrant.payload_selection import Projection, project
from vecdb_rerank_qdrant.queries import BATCH_NAMES, TIES
from vecdb_rerank_qdrant.request_reader import LIMIT, Arguments

K = SearchDefaults().k


@overload
def deepen(
    request: models.QueryRequest, k: int = ..., text_fields: TextFields | None = ...
) -> models.QueryRequest: ...
@overload
def deepen(
    request: Mapping[str, Any], k: int = ..., text_fields: TextFields | None = ...
) -> Mapping[str, Any]: ...
def deepen(request: Any, k: int = K, text_fields: TextFields | None = None) -> Any:
    """The request ``k`` hits deep, from the first one: what every page of a search sends alike.

    ``request`` is a `QueryRequest`, or the keyword arguments of ``query_points`` or
    ``query_points_groups``. Its limit becomes at least ``k`` (groups: ``k`` hits in all), its
    offset none, each prefetch at least ``k`` deep; the payload brings the fields of ``documents``.
    Qdrant orders equal scores one way or the other from call to call, so `TIES` hits more are
    asked for: the k-th place, decided by (score, id), does not depend on its mood.

    Pure: the caller's request is not changed. It is given back itself where it is deep enough, or
    where it would not be reranked (recommend, order_by, ...; a dense page past the window).
    """
    arguments = (
        request_reader.from_query_request(request)
        if isinstance(request, models.QueryRequest)
        else request
    )
    asked = request_reader.asked(arguments)
    if asked.obstacle is not None or (asked.tail_follows and asked.offset >= k):
        return request
    paths = (text_fields or TextFields()).paths
    return deepen_request(
        request, arguments, asked, k, project(request_reader.wants_payload(arguments), paths)
    )


def deepen_request(
    request: Any, arguments: Arguments, asked: RequestInfo, k: int, projection: Projection
) -> Any:
    """`deepen` for a request that has been read already."""
    changes = _changes(arguments, asked, k, projection)
    if not changes:
        return request
    if isinstance(request, models.QueryRequest):
        return request.model_copy(update={BATCH_NAMES[n]: value for n, value in changes.items()})
    return {**request, **changes}


def _changes(
    arguments: Arguments, asked: RequestInfo, k: int, projection: Projection
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    prefetch = arguments.get("prefetch")
    if (deep := _deepen(prefetch, k)) is not prefetch:
        changes["prefetch"] = deep
    if (limit := _limit(arguments, asked, k)) != asked.limit:
        changes["limit"] = limit
    if asked.offset:
        changes["offset"] = None
    if projection.show != "all":
        changes["with_payload"] = projection.selector
    return changes


def _limit(arguments: Arguments, asked: RequestInfo, k: int) -> int:
    if "group_by" in arguments:
        size = arguments.get("group_size") or request_reader.GROUP_SIZE
        return max(asked.limit, math.ceil(k / size))
    if not asked.offset and asked.limit >= k:
        return asked.limit
    return max(k + TIES, asked.offset + asked.limit if asked.tail_follows else 0)


def _deepen(prefetch: Any, k: int) -> Any:
    """Prefetches at least ``k`` deep; the same object where they are."""
    if isinstance(prefetch, list | tuple):
        deep = [_deepen(branch, k) for branch in prefetch]
        same = all(one is other for one, other in zip(deep, prefetch, strict=True))
        return prefetch if same else type(prefetch)(deep)
    if isinstance(prefetch, models.Prefetch):
        changes = _deepen_branch(prefetch.limit, prefetch.prefetch, k)
        return prefetch.model_copy(update=changes) if changes else prefetch
    if isinstance(prefetch, Mapping):
        changes = _deepen_branch(prefetch.get("limit"), prefetch.get("prefetch"), k)
        return {**prefetch, **changes} if changes else prefetch
    return prefetch


def _deepen_branch(limit: int | None, prefetch: Any, k: int) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if (LIMIT if limit is None else limit) < k:
        changes["limit"] = k
    if (deep := _deepen(prefetch, k)) is not prefetch:
        changes["prefetch"] = deep
    return changes
