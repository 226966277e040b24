"""A search made as deep as the window that is reranked: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vecdb_rerank.request import SearchDefaults
from vecdb_rerank_opensearch import clauses

# OpenSearch's own defaults: hits on a page, neighbours of a `neural` query.
SIZE = 10
NEURAL_K = 10
# With one of these, a vector query finds what is near enough instead of the k nearest.
_RADIAL = ("max_distance", "min_score")


@dataclass(frozen=True, slots=True)
class Page:
    """The hits that a body asks for: ``limit`` of them from ``offset``."""

    offset: int
    limit: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Page:
        """The page of a body; `ValueError` where `from` or `size` is no number of hits."""
        offset, limit = (
            int(default if (given := body.get(name)) is None else given)
            for name, default in (("from", 0), ("size", SIZE))
        )
        if offset < 0 or limit < 0:
            raise ValueError(f"from {offset}, size {limit}")
        return cls(offset, limit)

    @property
    def end(self) -> int:
        """The place after the last hit."""
        return self.offset + self.limit


def deepen(body: Mapping[str, Any], k: int = SearchDefaults().k) -> Mapping[str, Any]:
    """The body ``k`` hits deep, from the first one: what every page of a search sends alike.

    `size` becomes at least ``k``, and reaches to the page's end where that is deeper; `knn` and
    `neural` clauses look for at least ``k`` neighbours and a `hybrid` query goes to a
    `pagination_depth` of at least ``k``, unless the body has aggregations, which they would
    change. A page that begins past the window keeps its `from` and `size`, since OpenSearch
    pages on from there by itself; with `rescore`, where it does not (a deeper page orders the
    hits before it anew), it ends at the window.

    The caller's body is not changed, and given back itself where it is deep enough. ``k`` is 1 to
    10,000 (OpenSearch's default `index.max_result_window`). `ValueError` where `from` or `size`
    is no number of hits.
    """
    page = Page.of(body)
    deep = body if aggregates(body) else _deepen(body, page, k)
    if page.offset >= k and tail_follows(body):
        return deep
    size = max(k, page.end if tail_follows(body) or not page.offset else 0)
    if not page.offset and page.limit >= size:
        return deep
    return {**{name: value for name, value in deep.items() if name != "from"}, "size": size}


def tail_follows(body: Mapping[str, Any]) -> bool:
    """Whether a deeper page leaves the order of the hits before it alone."""
    return not body.get("rescore")


def aggregates(body: Mapping[str, Any]) -> bool:
    """Whether the body has aggregations, over what its query finds."""
    return bool(body.get("aggs") or body.get("aggregations"))


def keeps_own_depth(body: Mapping[str, Any], k: int) -> bool:
    """Whether a branch stays less than ``k`` deep, for the sake of aggregations."""
    return aggregates(body) and _deepen(body, Page.of(body), k) is not body


def _deepen(body: Mapping[str, Any], page: Page, k: int) -> Mapping[str, Any]:
    """The body with every branch at least ``k`` deep."""

    def deeper(name: str, parameters: Any) -> Any:
        if name in ("knn", "neural") and isinstance(parameters, Mapping):
            return _deeper_fields(parameters, k, NEURAL_K if name == "neural" else None)
        if name == "hybrid" and isinstance(parameters, Mapping):
            return _deeper_hybrid(parameters, page, k)
        return parameters

    query = body.get("query")
    deep = clauses.changed(query, deeper)
    return body if deep is query else {**body, "query": deep}


def _deeper_fields(fields: Mapping[str, Any], k: int, default: int | None) -> Mapping[str, Any]:
    """The fields of a vector clause, each with its k; one without is left alone."""
    deep = {
        field: {**vector, "k": k}
        for field, vector in fields.items()
        if isinstance(vector, Mapping) and _neighbours(vector, default, k) < k
    }
    return {**fields, **deep} if deep else fields


def _neighbours(vector: Mapping[str, Any], default: int | None, enough: int) -> int:
    radial = any(vector.get(name) is not None for name in _RADIAL)
    asked = vector.get("k", None if radial else default)
    return asked if isinstance(asked, int) else enough


def _deeper_hybrid(hybrid: Mapping[str, Any], page: Page, k: int) -> Mapping[str, Any]:
    """A hybrid query is as deep as its page, unless it says how deep: then it can be paged."""
    depth = hybrid.get("pagination_depth")
    if depth is None and not page.offset and page.limit >= k:
        return hybrid
    asked = page.limit if depth is None else depth
    if depth is not None and (not isinstance(asked, int) or asked >= k):
        return hybrid
    return {**hybrid, "pagination_depth": max(asked, k)}
