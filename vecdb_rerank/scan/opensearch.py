"""What becomes of each call of an OpenSearch client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vecdb_rerank.scan.rulings import (
    Ruling,
    bound,
    by_texts,
    each,
    has_query,
    hides,
    passed,
    reranked,
    switched,
    unclear,
    undecided,
)
from vecdb_rerank.scan.values import OPEN, Unknown, is_open

# Clauses that hold a text: where it stands in them, by field or at once.
_BY_FIELD = {
    "match": "query",
    "match_phrase": "query",
    "match_phrase_prefix": "query",
    "match_bool_prefix": "query",
    "neural": "query_text",
    "neural_sparse": "query_text",
}
_AT_ONCE = ("multi_match", "query_string", "simple_query_string")
# Clauses around others: the keys under which those count for the score.
_AROUND = {
    "bool": ("must", "should"),
    "hybrid": ("queries",),
    "dis_max": ("queries",),
    "function_score": ("query",),
    "script_score": ("query",),
    "boosting": ("positive",),
    "has_child": ("query",),
    "has_parent": ("query",),
    "nested": ("query",),
}
_READS = {
    "scroll": "a page of the database's order",
    "count": "a count",
    "get": "a document by id",
    "mget": "documents by id",
    "search_template": "the body is the template's",
    "msearch_template": "the bodies are templates'",
}
# Keys of a body under which the database owns the order.
_OWNED = ("pit", "search_after", "slice")
RAW = ("transport",)


def rulings(method: str, positional: Sequence[Any], named: Mapping[Any, Any]) -> list[Ruling]:
    """The rulings on one call, one a request; none for a method that does not search."""
    if method in _READS:
        return [passed(f"{method}: {_READS[method]}")]
    arguments = bound(("body", "index"), positional, named)
    if method == "search":
        return [_search(arguments)]
    return _msearch(arguments) if method == "msearch" else []


def _msearch(arguments: Mapping[Any, Any]) -> list[Ruling]:
    body = arguments.get("body")
    if not isinstance(body, list) or len(body) % 2:
        return [switched(arguments) or undecided(body, "the body")]
    own = each(arguments, len(body) // 2)
    if isinstance(own, Ruling):
        return [own]
    return [_search({**also, "body": one}) for one, also in zip(body[1::2], own, strict=True)]


def _search(arguments: Mapping[Any, Any]) -> Ruling:
    if (off := switched(arguments)) is not None:
        return off
    body = arguments.get("body")
    if isinstance(body, Unknown) or hides(arguments, body):
        return undecided(body, "the body")
    params = arguments.get("params")
    url = {**params, **arguments} if isinstance(params, dict) else dict(arguments)
    whole = _parsed(body)
    if whole is None:
        return passed("body: no JSON object")
    over = {name: url[name] for name in ("size", "sort") if name in url}
    if "q" in url:
        over["query"] = {"query_string": {"query": url["q"]}}
    whole = {**whole, **over}
    return _obstacle(whole, url) or _by_text(whole, arguments)


def _parsed(body: Any) -> Mapping[Any, Any] | None:
    """A body as a mapping, from its JSON too; none is an empty one."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if body is None:
        return {}
    return body if isinstance(body, dict) else None


def _obstacle(body: Mapping[Any, Any], url: Mapping[Any, Any]) -> Ruling | None:
    """Why a request is not to be reranked, whatever its text."""
    if url.get("format", "json") != "json":
        return passed("format: the answer is not JSON")
    if url.get("scroll") is not None:
        return passed("scroll: the database owns the order")
    for name in _OWNED:
        if body.get(name) is not None:
            return passed(f"{name}: the database owns the order")
    if isinstance(sort := body.get("sort"), Unknown):
        return undecided(sort, "the sort")
    if not _by_score(sort):
        return passed("sort: other than by score alone")
    if body.get("size") == 0:
        return passed("size: 0, no hits are wanted")
    if "_none_" in (body.get("stored_fields"), url.get("stored_fields")):
        return passed("stored_fields: _none_ hides the ids")
    if url.get("filter_path") is not None:
        return unclear("filter_path: reranked where it lets ids, scores and texts through")
    return None


def _by_text(body: Mapping[Any, Any], arguments: Mapping[Any, Any]) -> Ruling:
    if has_query(arguments):
        return reranked("by rerank_query")
    if _in_extension(body):
        return reranked("by the text in ext.rerank.query_context")
    texts = list(_texts(body.get("query")))
    if not texts and (hidden := _hidden(body)) is not None:
        return undecided(hidden, "the query")
    return by_texts(texts, "the query")


def _by_score(sort: Any) -> bool:
    """Whether a sort is by score alone, best first."""
    keys = sort if isinstance(sort, list) else [sort]
    return not sort or (len(keys) == 1 and _is_score(keys[0]))


def _is_score(key: Any) -> bool:
    if isinstance(key, str):
        return key in ("_score", "_score:desc")
    how = key.get("_score") if isinstance(key, dict) and list(key) == ["_score"] else None
    return (how.get("order", "desc") if isinstance(how, dict) else how) == "desc"


def _in_extension(body: Mapping[Any, Any]) -> bool:
    found: Any = body
    for key in ("ext", "rerank", "query_context"):
        found = found.get(key) if isinstance(found, dict) else None
    return found is not None


def _texts(clause: Any) -> Iterator[Any]:
    """The query texts of the clauses that count for the score."""
    if isinstance(clause, list):
        for one in clause:
            yield from _texts(one)
    if not isinstance(clause, dict):
        return
    for name, inner in clause.items():
        if name in _BY_FIELD and isinstance(inner, dict):
            for value in (v for key, v in inner.items() if key is not OPEN):
                text = value.get(_BY_FIELD[name]) if isinstance(value, dict) else value
                if text is not None:
                    yield text
        elif name in _AT_ONCE and isinstance(inner, dict) and "query" in inner:
            yield inner["query"]
        elif name in _AROUND and isinstance(inner, dict):
            for key in _AROUND[name]:
                yield from _texts(inner.get(key))


def _hidden(body: Mapping[Any, Any]) -> Any:
    """What may hold the text, in a body that does not show any."""
    query = body.get("query")
    if isinstance(query, Unknown):
        return query
    return OPEN if query is None and is_open(body) else _unseen(query)


def _unseen(clause: Any) -> Any:
    if isinstance(clause, Unknown):
        return clause
    if isinstance(clause, list):
        return next((found for one in clause if (found := _unseen(one)) is not None), None)
    if not isinstance(clause, dict):
        return None
    if is_open(clause):
        return OPEN
    parts = (
        v.get(key) for n, v in clause.items() if isinstance(v, dict) for key in _AROUND.get(n, ())
    )
    return next((found for part in parts if (found := _unseen(part)) is not None), None)
