"""Make a search as deep as the window that is reranked: pure functions.

What the caller sees stays the caller's: the number of hits, where they end, and their total. So
`size` may grow, but the `k` of a `knn` clause decides which hits there are at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.dropin import RerankDepth
from vecdb_rerank_opensearch import clauses
from vecdb_rerank_opensearch.composed_order import processors

Body = Mapping[str, object]
# OpenSearch's defaults: hits on a page, neighbours that a `neural` query looks for.
SIZE = 10
NEURAL_K = 10
WINDOW = 10  # hits of each shard that a rescore scores
# With one of these, a vector query finds what is near enough and not the k nearest.
_RADIAL = ("max_distance", "min_score")
# With one of these, the hits or the total of k neighbours do not follow from those of more.
_COUNTING = ("aggs", "aggregations", "collapse", "post_filter", "terminate_after")
# Processors of a pipeline that act on the page.
_ON_PAGE = {"truncate_hits", "collapse", "oversample"}


@dataclass(frozen=True, slots=True)
class Page:
    """The hits that a body asks for: ``limit`` of them from ``offset``."""

    offset: int
    limit: int

    @classmethod
    def of(cls, body: Body) -> Page:
        """Return the page of a body; `ValueError` if `from` or `size` is not a number of hits."""
        return cls(_number(body, "from", 0), _number(body, "size", SIZE))

    @property
    def end(self) -> int:
        """The place after the last hit."""
        return self.offset + self.limit


def deepen(
    body: Mapping[str, Any],
    k: int = SearchDefaults().k,
    rerank_depth: RerankDepth = "window",
    *,
    one_shard: bool = True,
) -> Mapping[str, Any]:
    """Return the body made ``k`` hits deep from the first hit: the same for all its pages.

    `size` becomes at least ``k``, and reaches to the page's end if that is deeper. A `hybrid`
    query without a `pagination_depth` gets one of ``k``. A `knn` or `neural` query that stands
    alone looks for at least ``k`` neighbours; its first hits are those that the caller's own `k`
    finds on an index of ``one_shard``, and only there. All other branches keep their depth, as
    does a page past the window: OpenSearch continues there. With a `rescore`, `size` becomes at
    most its `window_size`. With ``rerank_depth="own"`` nothing changes.

    The function is pure. It returns ``body`` itself if that is deep enough. ``k`` is 1 to 10,000
    (OpenSearch's default `index.max_result_window`). Raises `ValueError` if `from` or `size` is
    not a number of hits.
    """
    page, window = Page.of(body), window_size(body)
    if body.get("rescore"):
        k = 0 if window is None or page.end > window else min(k, window)
    if rerank_depth == "own" or acts_on_page(body) or page.offset >= k:
        return body
    deep = _deeper_branches(body, k, one_shard=one_shard)
    size = max(k, page.end)
    if not page.offset and page.limit >= size:
        return deep
    return {**{name: value for name, value in deep.items() if name != "from"}, "size": size}


def available(body: Body, k: int) -> int | None:
    """Return how many hits there are, if `deepen` makes a body find more than that.

    It is the `k` of a vector query that stands alone.
    """
    vector = _only_vector(body.get("query"))
    if vector is None or any(body.get(name) for name in _COUNTING):
        return None
    own = vector.k
    return own if own is not None and Page.of(body).offset < own < k else None


def kept(body: Body, k: int, *, one_shard: bool = True) -> str | None:
    """Return which branch stays less than ``k`` deep, and why."""
    for name, parameters in clauses.scoring(body.get("query")):
        if not isinstance(parameters, Mapping):
            continue
        if name == "hybrid" and isinstance(depth := parameters.get("pagination_depth"), int):
            if depth < k:
                return f"hybrid keeps its pagination_depth of {depth}: it decides where hits end"
        elif name in ("knn", "neural"):
            depths = (own for own in _depths(name, parameters) if own is not None and own < k)
            if (own := next(depths, None)) is not None and (
                not one_shard or available(body, k) is None
            ):
                return f"{name} keeps its k of {own}: it decides which hits there are"
    return None


def window_size(body: Body) -> int | None:
    """Return how many hits of each shard the only rescore of a body scores; else None."""
    given = body.get("rescore")
    rescores = given if isinstance(given, list | tuple) else [given]
    if len(rescores) != 1 or not isinstance(rescores[0], Mapping):
        return None
    size = rescores[0].get("window_size", WINDOW)
    return size if isinstance(size, int) else None


def acts_on_page(body: Body) -> bool:
    """Check whether an inline pipeline cuts or collapses the hits of the response."""
    phases = ("request_processors", "response_processors")
    return any(_ON_PAGE & processors(body, phase) for phase in phases)


def shards(response: object) -> int | None:
    """Return on how many shards a search ran; None if the response does not say it."""
    found = response.get("_shards") if isinstance(response, Mapping) else None
    total = found.get("total") if isinstance(found, Mapping) else None
    return total if isinstance(total, int) else None


def with_total_at_most(response: Mapping[str, Any], available: int | None) -> dict[str, Any]:
    """Return a copy of a response whose `hits.total` is at most what is ``available``."""
    hits = response.get("hits")
    total = hits.get("total") if isinstance(hits, Mapping) else None
    if available is None or not isinstance(hits, Mapping) or total is None:
        return dict(response)
    if isinstance(total, Mapping):
        capped: object = {**total, "value": min(available, total["value"])}
    else:
        capped = min(available, total)
    return {**response, "hits": {**hits, "total": capped}}


@dataclass(frozen=True, slots=True)
class _Vector:
    """One field of a `knn` or `neural` clause; ``k`` is None if it looks for all that is near."""

    clause: str
    field: str
    parameters: Mapping[str, object]
    k: int | None


def _only_vector(query: object) -> _Vector | None:
    """Return the vector clause that is the whole query, on one field."""
    if not isinstance(query, Mapping) or len(query) != 1:
        return None
    [(clause, fields)] = query.items()
    if clause not in ("knn", "neural") or not isinstance(fields, Mapping) or len(fields) != 1:
        return None
    [(field, parameters)] = fields.items()
    if not isinstance(parameters, Mapping):
        return None
    [k] = _depths(clause, fields)
    return _Vector(clause, field, parameters, k)


def _depths(clause: str, fields: Mapping[str, object]) -> list[int | None]:
    """Return how many neighbours a vector clause looks for in each field."""
    default = NEURAL_K if clause == "neural" else None
    return [_neighbours(p, default) for p in fields.values() if isinstance(p, Mapping)]


def _neighbours(parameters: Mapping[str, object], default: int | None) -> int | None:
    if any(parameters.get(name) is not None for name in _RADIAL):
        default = None
    k = parameters.get("k", default)
    return k if isinstance(k, int) else None


def _deeper_branches(body: Body, k: int, *, one_shard: bool) -> Body:
    query = body.get("query")
    if one_shard and available(body, k) is not None:
        vector = _only_vector(query)
        assert vector is not None
        return {
            **body,
            "query": {vector.clause: {vector.field: {**vector.parameters, "k": k}}},
        }
    deep = clauses.changed(query, lambda name, given: _deeper_hybrid(body, name, given, k))
    return body if deep is query else {**body, "query": deep}


def _deeper_hybrid(body: Body, name: str, parameters: object, k: int) -> object:
    """Return a hybrid query that goes as deep as the window; without a depth, it is its page's."""
    if name != "hybrid" or not isinstance(parameters, Mapping):
        return parameters
    page = Page.of(body)
    if parameters.get("pagination_depth") is not None or page.offset or page.limit >= k:
        return parameters
    return {**parameters, "pagination_depth": k}


def _number(body: Body, name: str, default: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float | str) or int(value) < 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")
    return int(value)
