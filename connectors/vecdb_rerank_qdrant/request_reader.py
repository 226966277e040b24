"""Read a Qdrant query: pure functions over JSON-shaped mappings.

A request is the body of ``POST /collections/{name}/points/query`` or ``.../query/groups``, or the
arguments of ``query_points`` in that shape: numbers, strings, lists and mappings. A field that is
None is absent. This module imports no client library; `vecdb_rerank_qdrant.plain` converts the
client's models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from vecdb_rerank.search.dropin import RequestInfo, RerankDepth
from vecdb_rerank_qdrant import formula as formulas
from vecdb_rerank_qdrant.layout import BM25_MODEL

Request = Mapping[str, object]
# Qdrant's defaults for a query or prefetch, and for a group.
LIMIT = 10
GROUP_SIZE = 3
# Queries whose score is not a relevance to a query.
_OTHER_SCORES = {
    "recommend": "recommend: hits resemble other points",
    "discover": "discover: hits resemble other points",
    "context": "context: hits resemble other points",
    "relevance_feedback": "relevance_feedback: hits resemble other points",
    "order_by": "order_by: the order is that of a field",
    "sample": "sample: hits are drawn at random",
}
_FUSIONS = ("fusion", "rrf")


def read(request: Request, k: int, rerank_depth: RerankDepth = "window") -> RequestInfo:
    """Return ``request`` in the terms that all databases share.

    ``k`` is the size of the window that is reranked. With ``rerank_depth="own"`` the hits of the
    response are the window, whatever page they are.
    """
    query, branches = request.get("query"), list(_branches(request.get("prefetch")))
    why = obstacle(request)
    own = rerank_depth == "own"
    return RequestInfo(
        mode=_mode(query, branches),
        limit=LIMIT if why else number(request, "limit", LIMIT),
        offset=0 if why or own else number(request, "offset", 0),
        texts=texts(request),
        obstacle=why,
        tail_follows=own or tail_follows(request),
        own_depth=own,
        notes={} if why or own else _notes(request, k),
    )


def obstacle(request: Request) -> str | None:
    """Return why the hits of ``request`` must keep their order; None if they may be reranked."""
    query, prefetch = request.get("query"), request.get("prefetch")
    composed = formula(request)
    return (
        (_other_score(query, prefetch) if composed is None else _composed(composed, request))
        or _random_branch(prefetch)
        or _without_page(request)
    )


def formula(request: Request) -> object | None:
    """Return the formula of ``request`` if its score is more than the relevance; else None."""
    query = request.get("query")
    found = query.get("formula") if isinstance(query, Mapping) else None
    return None if found is None or formulas.weighs_scores(found) else found


def payload_keys(request: Request) -> tuple[str, ...]:
    """Return the keys of the payload that are needed to evaluate the request's formula."""
    found = formula(request)
    return () if found is None else formulas.payload_keys(found)


def texts(request: Request) -> tuple[str, ...]:
    """Return the query texts in ``request`` and its prefetches: stripped, each once."""
    branches = _branches(request.get("prefetch"))
    queries = [request.get("query"), *(branch.get("query") for branch in branches)]
    found = (text.strip() for query in queries for text in _texts(query))
    return tuple(dict.fromkeys(filter(None, found)))


def number(request: Request, name: str, default: int) -> int:
    """Return a number of hits; `ValueError` if the field is not an integer of at least 0."""
    value = request.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")
    return value


def tail_follows(request: Request) -> bool:
    """Check whether a deeper request leaves the order of the hits before it alone.

    That holds for dense vectors, and for a formula, whose prefetch keeps its depth: Qdrant orders
    equal scores of other queries differently at each call.
    """
    if formula(request) is not None:
        return True
    query = request.get("query")
    nearest = query.get("nearest") if isinstance(query, Mapping) else query
    branches = list(_prefetches(request.get("prefetch")))
    return isinstance(nearest, list | tuple) and not branches


def fused_by(request: Request) -> Literal["database", "none"]:
    """Return who joins the branches of ``request``."""
    return "database" if is_fusion(request.get("query")) else "none"


def is_fusion(query: object) -> bool:
    """Check whether ``query`` fuses its prefetches: deeper ones change how deep it goes.

    Any other query only rescores what its prefetches found, so their limits decide which points
    can be hits at all.
    """
    return isinstance(query, Mapping) and any(query.get(name) is not None for name in _FUSIONS)


def _branches(prefetch: object) -> Iterator[Request]:
    """Yield all prefetches of a tree, outer ones first."""
    for branch in _prefetches(prefetch):
        yield branch
        yield from _branches(branch.get("prefetch"))


def _prefetches(prefetch: object) -> Iterator[Request]:
    if prefetch is None:
        return
    for branch in prefetch if isinstance(prefetch, list | tuple) else [prefetch]:
        if isinstance(branch, Mapping):
            yield branch


def _other_score(query: object, prefetch: object) -> str | None:
    """Return what the score is, if it is not the relevance to the query."""
    if query is None:
        return "no query: points come in the order of their ids"
    if not isinstance(query, Mapping):
        return None
    if query.get("mmr") is not None:
        return "mmr: the order favours variety"
    for name, why in _OTHER_SCORES.items():
        if query.get(name) is not None:
            return why
    found = query.get("formula")
    if found is not None and not formulas.weighs_scores(found):
        return "formula: the score is more than the relevance"
    return None if found is None and not is_fusion(query) else _other_score_below(prefetch)


def _other_score_below(prefetch: object) -> str | None:
    found = (_other_score(b.get("query"), b.get("prefetch")) for b in _prefetches(prefetch))
    return next((f"prefetch: {why}" for why in found if why), None)


def _composed(found: object, request: Request) -> str | None:
    """Return why a formula, whose score is more than the relevance, cannot be kept in force."""
    if request.get("group_by") is not None:
        return "formula: groups do not bring the scores under it"
    prefetch = request.get("prefetch")
    if len(list(_prefetches(prefetch))) != 1:
        return "formula: it is not over exactly one prefetch"
    return formulas.obstacle(found) or _other_score_below(prefetch)


def may_be_distance(query: object) -> bool:
    """Check whether the score of ``query`` may be a distance, where less is better."""
    if is_fusion(query) or (isinstance(query, Mapping) and query.get("formula") is not None):
        return False
    return _mode(query, []) not in ("bm25", "sparse")


def _random_branch(prefetch: object) -> str | None:
    queries = (branch.get("query") for branch in _branches(prefetch))
    drawn = any(isinstance(q, Mapping) and q.get("sample") is not None for q in queries)
    return "sample: hits of a prefetch are drawn at random" if drawn else None


def _without_page(request: Request) -> str | None:
    """Return why there is no page to fill; the database reports the error."""
    try:
        limit = number(request, "limit", LIMIT)
        size = number(request, "group_size", GROUP_SIZE)
        number(request, "offset", 0)
    except ValueError:
        return "limit, offset: not numbers of hits"
    return None if limit and size else "limit: 0, no hits are wanted"


def _notes(request: Request, k: int) -> Mapping[str, str]:
    """Return which prefetch keeps a limit below ``k``."""
    limits = [number(branch, "limit", LIMIT) for branch in _rescored(request)]
    if not limits or sum(limits) >= k:
        return {}
    found = f"its prefetches find at most {sum(limits)} hits, as the request says"
    return {"own_depth": f"the query rescores what {found}; those are reranked, not {k}"}


def _rescored(request: Request) -> list[Request]:
    """The prefetches whose hits the query rescores."""
    is_fused = is_fusion(request.get("query"))
    return [] if is_fused else list(_prefetches(request.get("prefetch")))


def _texts(query: object) -> Iterator[str]:
    """Yield the text that a query is made of."""
    if not isinstance(query, Mapping):
        return
    text = query.get("text")
    if isinstance(text, str):
        yield text
    elif isinstance(text, Mapping) and isinstance(text.get("query"), str):
        yield text["query"]
    elif "nearest" in query:
        yield from _texts(query.get("nearest"))


def _mode(query: object, branches: list[Request]) -> str:
    if branches:
        return "hybrid"
    if not isinstance(query, Mapping):
        return "dense"
    if query.get("nearest") is not None:
        return _mode(query["nearest"], branches)
    if query.get("text") is not None:
        model = query.get("model")
        is_bm25 = model is None or (isinstance(model, str) and model.lower() == BM25_MODEL)
        return "bm25" if is_bm25 else "text"
    return "sparse" if query.get("indices") is not None else "dense"
