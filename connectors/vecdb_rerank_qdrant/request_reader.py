"""What a request that somebody else wrote asks for: pure functions.

A request is the mapping of a call's arguments, under the names of `query_points`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from qdrant_client.http import models

from vecdb_rerank.search.dropin import RequestInfo
from vecdb_rerank_qdrant.bm25 import MODEL
from vecdb_rerank_qdrant.queries import BATCH_NAMES

Arguments = Mapping[str, Any]
# Qdrant's own defaults, of a query and of a prefetch.
LIMIT = 10
GROUP_SIZE = 3
# Queries whose order is not one by relevance to a text.
_NOT_BY_TEXT = {
    "RecommendQuery": "recommend: hits are like other points",
    "DiscoverQuery": "discover: hits are like other points",
    "ContextQuery": "context: hits are like other points",
    "RelevanceFeedbackQuery": "relevance_feedback: hits are like other points",
    "OrderByQuery": "order_by: the order is that of a field",
    "SampleQuery": "sample: hits are drawn by chance",
}


def from_query_request(request: models.QueryRequest) -> dict[str, Any]:
    """A batch's request as the arguments of a single call; it has no payload unless it asks."""
    named = {ours: getattr(request, theirs) for ours, theirs in BATCH_NAMES.items()}
    return {**named, "with_payload": named["with_payload"] or False}


def asked(request: Arguments) -> RequestInfo:
    """What a request asks for, in words that are the same for every database."""
    query, prefetch = request.get("query"), request.get("prefetch")
    branches = list(_branches(prefetch))
    obstacle = _obstacle(query) or _uncertain(branches) or _without_page(request)
    return RequestInfo(
        mode=_mode(query, branches),
        limit=LIMIT if obstacle else limit(request),
        offset=0 if obstacle else request.get("offset") or 0,
        texts=tuple(_texts(query)) + tuple(t for b in branches for t in _texts(_part(b, "query"))),
        obstacle=obstacle,
        tail_follows=_is_dense(query) and not branches,
    )


def limit(request: Arguments) -> int:
    """How many hits or groups a request wants."""
    wanted: int = LIMIT if request.get("limit") is None else request["limit"]
    return wanted


def wants_payload(request: Arguments) -> Any:
    """The payload selector; a single call has the whole payload unless told otherwise."""
    selector = request.get("with_payload", True)
    return False if selector is None else selector


def fused_by(request: Arguments) -> Literal["database", "none"]:
    """Who joins the branches of a request."""
    fuses = isinstance(request.get("query"), models.FusionQuery | models.RrfQuery)
    return "database" if fuses else "none"


def _branches(prefetch: Any) -> Iterator[Any]:
    """All prefetches of a tree."""
    if prefetch is None:
        return
    for branch in prefetch if isinstance(prefetch, list | tuple) else [prefetch]:
        yield branch
        yield from _branches(_part(branch, "prefetch"))


def _part(branch: Any, name: str) -> Any:
    return branch.get(name) if isinstance(branch, Mapping) else getattr(branch, name, None)


def _obstacle(query: Any) -> str | None:
    if query is None:
        return "no query: points come in the order of their ids"
    if isinstance(query, models.NearestQuery) and query.mmr is not None:
        return "mmr: the order is for variety"
    return _NOT_BY_TEXT.get(type(query).__name__)


def _uncertain(branches: list[Any]) -> str | None:
    drawn = any(isinstance(_part(branch, "query"), models.SampleQuery) for branch in branches)
    return "sample: hits of a prefetch are drawn by chance" if drawn else None


def _without_page(request: Arguments) -> str | None:
    """A page that has no hits, or none that can be counted; the client says what is wrong."""
    sizes = [request.get(name) for name in ("limit", "offset", "group_size")]
    if any(size is not None and (type(size) is not int or size < 0) for size in sizes):
        return "limit, offset: no numbers of hits"
    return "limit: 0, no hits are wanted" if 0 in (sizes[0], sizes[2]) else None


def _texts(query: Any) -> Iterator[str]:
    """The texts that a query is made of."""
    if isinstance(query, models.NearestQuery):
        yield from _texts(query.nearest)
    elif isinstance(query, models.Document):
        yield query.text
    elif type(query).__name__ == "TextQuery":
        yield query.text if isinstance(query.text, str) else query.text.query


def _mode(query: Any, branches: list[Any]) -> str:
    if branches:
        return "hybrid"
    nearest = query.nearest if isinstance(query, models.NearestQuery) else query
    if isinstance(nearest, models.Document):
        return "bm25" if nearest.model.lower() == MODEL else "text"
    if isinstance(nearest, models.SparseVector):
        return "sparse"
    return "bm25" if type(query).__name__ == "TextQuery" else "dense"


def _is_dense(query: Any) -> bool:
    """Whether the query is surely a dense vector: Qdrant orders no others' ties the same twice."""
    nearest = query.nearest if isinstance(query, models.NearestQuery) else query
    return isinstance(nearest, list) or type(nearest).__name__ == "ndarray"
