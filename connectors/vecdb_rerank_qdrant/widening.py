"""A request made as deep as the window that is reranked: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, overload

from qdrant_client.http import models

from vecdb_rerank.documents import Documents
from vecdb_rerank.dropin import Asked
from vecdb_rerank.search import SearchDefaults
from vecdb_rerank_qdrant import asking
from vecdb_rerank_qdrant.asking import LIMIT, Arguments
from vecdb_rerank_qdrant.payloads import Projection, project
from vecdb_rerank_qdrant.requests import BATCH_NAMES, TIES

K = SearchDefaults().k


@overload
def widen(
    request: models.QueryRequest, k: int = ..., documents: Documents | None = ...
) -> models.QueryRequest: ...
@overload
def widen(
    request: Mapping[str, Any], k: int = ..., documents: Documents | None = ...
) -> Mapping[str, Any]: ...
def widen(request: Any, k: int = K, documents: Documents | None = None) -> Any:
    """The request ``k`` hits deep, from the first one: what every page of a search sends alike.

    ``request`` is a `QueryRequest`, or the keyword arguments of ``query_points`` or
    ``query_points_groups``. Its limit becomes at least ``k`` (groups: ``k`` hits in all), its
    offset none, each prefetch at least ``k`` deep; the payload brings the fields of ``documents``.
    Qdrant orders equal scores one way or the other from call to call, so `TIES` hits more are
    asked for: the k-th place, decided by (score, id), does not depend on its mood.

    Pure: the caller's request is not changed. It is given back itself where it is deep enough, or
    where it would not be reranked (recommend, order_by, ...; a dense page past the window).
    """
    arguments = asking.of_request(request) if isinstance(request, models.QueryRequest) else request
    asked = asking.asked(arguments)
    if asked.obstacle is not None or (asked.pages_on and asked.offset >= k):
        return request
    paths = (documents or Documents()).paths
    return deepened(request, arguments, asked, k, project(asking.wants_payload(arguments), paths))


def deepened(
    request: Any, arguments: Arguments, asked: Asked, k: int, projection: Projection
) -> Any:
    """`widen` for a request that has been read already."""
    changes = _changes(arguments, asked, k, projection)
    if not changes:
        return request
    if isinstance(request, models.QueryRequest):
        return request.model_copy(update={BATCH_NAMES[n]: value for n, value in changes.items()})
    return {**request, **changes}


def _changes(arguments: Arguments, asked: Asked, k: int, projection: Projection) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    prefetch = arguments.get("prefetch")
    if (deep := _deep(prefetch, k)) is not prefetch:
        changes["prefetch"] = deep
    if (limit := _limit(arguments, asked, k)) != asked.limit:
        changes["limit"] = limit
    if asked.offset:
        changes["offset"] = None
    if projection.show != "all":
        changes["with_payload"] = projection.selector
    return changes


def _limit(arguments: Arguments, asked: Asked, k: int) -> int:
    if "group_by" in arguments:
        size = arguments.get("group_size") or asking.GROUP_SIZE
        return max(asked.limit, math.ceil(k / size))
    if not asked.offset and asked.limit >= k:
        return asked.limit
    return max(k + TIES, asked.offset + asked.limit if asked.pages_on else 0)


def _deep(prefetch: Any, k: int) -> Any:
    """Prefetches at least ``k`` deep; the same object where they are."""
    if isinstance(prefetch, list | tuple):
        deep = [_deep(branch, k) for branch in prefetch]
        same = all(one is other for one, other in zip(deep, prefetch, strict=True))
        return prefetch if same else type(prefetch)(deep)
    if isinstance(prefetch, models.Prefetch):
        changes = _deeper(prefetch.limit, prefetch.prefetch, k)
        return prefetch.model_copy(update=changes) if changes else prefetch
    if isinstance(prefetch, Mapping):
        changes = _deeper(prefetch.get("limit"), prefetch.get("prefetch"), k)
        return {**prefetch, **changes} if changes else prefetch
    return prefetch


def _deeper(limit: int | None, prefetch: Any, k: int) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if (LIMIT if limit is None else limit) < k:
        changes["limit"] = k
    if (deep := _deep(prefetch, k)) is not prefetch:
        changes["prefetch"] = deep
    return changes
