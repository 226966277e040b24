"""What a search that somebody else wrote asks for: pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vecdb_rerank.request import Mode
from vecdb_rerank.search.dropin import RequestInfo
from vecdb_rerank_opensearch import clauses, source_selection
from vecdb_rerank_opensearch.depth import Page, deepen, keeps_own_depth, tail_follows
from vecdb_rerank_opensearch.filter_path import first_missing
from vecdb_rerank_opensearch.source_selection import Projection

Body = Mapping[str, Any]
# Arguments of the URL that override the body's part of that name.
PAGE = ("from", "size")
_OVERRIDING = (*PAGE, "sort", "stored_fields", "_source")
_SOURCE = ("_source", "_source_includes", "_source_excludes")
# With one of these, the source comes only where it is asked for.
_INSTEAD_OF_SOURCE = ("stored_fields", "script_fields")
_VECTORS = {"knn", "neural", "neural_sparse"}


@dataclass(frozen=True, slots=True)
class Request:
    """One search as the caller wrote it: its body (None: no JSON object) and its URL's arguments.

    ``at`` is where its answer has its hits, ``needed`` what the answer has to have besides.
    """

    body: Body | None
    url: Mapping[str, Any]
    at: str = "hits.hits"
    needed: tuple[str, ...] = ()

    @classmethod
    def of_many(cls, body: Body | None, url: Mapping[str, Any]) -> Request:
        """One of an ``_msearch``: without a status, answers without hits would fall away."""
        return cls(body, url, "responses.hits.hits", ("responses.status",))

    @property
    def effective(self) -> Body:
        """The body with what the URL overrides in it, as the server reads the two."""
        body = self.body or {}
        over = {name: self.url[name] for name in _OVERRIDING if name in self.url}
        if "q" in self.url:
            over["query"] = {"query_string": {"query": self.url["q"]}}
        for name in ("stored_fields", "docvalue_fields"):
            if name in self.url:
                over[name] = [*listed(self.url[name])]
        if "docvalue_fields" in over:  # those of the body come as well
            over["docvalue_fields"] += listed(body.get("docvalue_fields"))
        return {**body, **over} if over else body


def asked(request: Request, paths: Sequence[str], k: int) -> RequestInfo:
    """What a request asks for; ``paths`` are the fields of a document that are its text."""
    body = request.effective
    obstacle = next(_obstacles(body, request, paths), None)
    if obstacle is not None:
        return RequestInfo(_mode(body), 0, obstacle=obstacle, texts=query_texts(body))
    page = Page.of(body)
    kept = "aggregations: branches are not widened, since they would change"
    return RequestInfo(
        mode=_mode(body),
        limit=page.limit,
        offset=page.offset,
        texts=query_texts(body),
        note=kept if keeps_own_depth(body, k) else None,
        tail_follows=tail_follows(body),
        deterministic_ties=True,
    )


def projected(request: Request, paths: Sequence[str]) -> Projection:
    """What has the request bring the fields ``paths`` where it does not do so by itself."""
    body = request.effective
    if _text_in_source(body, request, paths):
        return Projection({})
    return source_selection.bringing(paths, body)


def deepen_request(request: Request, k: int) -> Body:
    """The body ``k`` hits deep, with the URL's page in it: the request's own if deep enough."""
    page = {name: request.url[name] for name in PAGE if name in request.url}
    body = {} if request.body is None else request.body
    whole = {**body, **page} if page else body
    wide = deepen(whole, k)
    return body if wide is whole else wide


def parsed(body: Any) -> Body | None:
    """A body as a mapping, from its JSON too; none is an empty one, anything else is None."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if body is None:
        return {}
    return body if isinstance(body, Mapping) else None


def url_arguments(params: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the URL: ``params`` and named arguments, which win, as opensearch-py does."""
    given = {**(params or {}), **{name: v for name, v in named.items() if v is not None}}
    if "from_" in given:
        given["from"] = given.pop("from_")
    return given


def _obstacles(body: Body, request: Request, paths: Sequence[str]) -> Iterator[str]:
    """Why an (effective) body is not to be reranked."""
    url = request.url
    if request.body is None:
        yield "body: no JSON object"
    if "source" in url:
        yield "source: the body is in the URL"
    if url.get("format", "json") != "json":
        yield f"format: the answer is {url['format']}, not JSON"
    if "scroll" in url:
        yield "scroll: the database owns the order"
    for name in ("pit", "search_after", "slice"):
        if body.get(name) is not None:
            yield f"{name}: the database owns the order"
    if not _by_score(body.get("sort")):
        yield "sort: other than by score alone"
    try:
        if Page.of(body).limit == 0:
            yield "size: 0, no hits are wanted"
    except (TypeError, ValueError):
        yield "from, size: no numbers of hits"
    if "_none_" in listed(body.get("stored_fields")):
        yield "stored_fields: _none_ hides the ids"
    in_source = _text_in_source(body, request, paths)
    if not in_source and (value := source_selection.replaced(paths, body)) is not None:
        yield f"docvalue_fields: {value} is a part of the text, which _source leaves out"
    where = [] if in_source else [f"{request.at}.fields"]
    needed = [*request.needed, f"{request.at}._id", f"{request.at}._score", *where]
    if (path := first_missing(url.get("filter_path"), needed)) is not None:
        yield f"filter_path: hides {path}, or the text to rerank"


def _by_score(sort: Any) -> bool:
    """Whether a sort is by score alone, best first: what the server does without one."""
    keys = sort.split(",") if isinstance(sort, str) else sort
    keys = keys if isinstance(keys, list | tuple) else [keys]
    return not sort or (len(keys) == 1 and _is_score(keys[0]))


def _is_score(key: Any) -> bool:
    if isinstance(key, str):
        return key in ("_score", "_score:desc")
    if not isinstance(key, Mapping) or list(key) != ["_score"]:
        return False
    how = key["_score"]
    return (how.get("order", "desc") if isinstance(how, Mapping) else how) == "desc"


def _text_in_source(body: Body, request: Request, paths: Sequence[str]) -> bool:
    """Whether hits come with the fields ``paths`` in their source anyway."""
    url = request.url
    if any(url.get(name) not in (None, True, "true") for name in _SOURCE):
        return False
    if body.get("_source") not in (None, True, "true"):
        return False
    if body.get("_source") is None and any(body.get(name) for name in _INSTEAD_OF_SOURCE):
        return False
    whole = [f"{request.at}._source.{path}" for path in paths]
    return first_missing(url.get("filter_path"), whole) is None


def _mode(body: Body) -> Mode:
    """What kind of search a body is."""
    names = {name for name, _ in clauses.scoring(body.get("query"))}
    if "hybrid" in names:
        return "hybrid"
    return "dense" if names & _VECTORS else "bm25"


def listed(given: Any) -> list[Any]:
    """A list, its comma-separated form, or nothing, as a list."""
    if isinstance(given, str):
        return given.split(",")
    return list(given) if isinstance(given, list | tuple) else []


# Clauses that hold the text beside their options, and those that hold it by field.
_WHOLE = ("multi_match", "query_string", "simple_query_string")
_BY_FIELD = {
    "match": "query",
    "match_bool_prefix": "query",
    "match_phrase": "query",
    "match_phrase_prefix": "query",
    "neural": "query_text",
    "neural_sparse": "query_text",
}


def query_texts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What a body's user asks: one text, or none, or several where it says several things.

    First what the server's own rerank processors are told (`ext.rerank.query_context`:
    `query_text`, or `query_text_path` into the body), else the texts of the clauses that score:
    `match` and its kin, `multi_match`, `query_string`, `simple_query_string`, `neural`, inside
    `bool` and `hybrid` ones too. A filter is not asked, it only narrows.
    """
    context = _at(body, ["ext", "rerank", "query_context"])
    found: Iterable[Any] = _texts(body.get("query"))
    if isinstance(context, Mapping):
        text, path = context.get("query_text"), context.get("query_text_path")
        if text is None and isinstance(path, str):
            text = _at(body, path.split("."))
        found = [text]
    texts = (text.strip() for text in found if isinstance(text, str))
    return tuple(dict.fromkeys(filter(None, texts)))


def _texts(query: Any) -> Iterator[Any]:
    for name, parameters in clauses.scoring(query):
        if not isinstance(parameters, Mapping):
            continue
        if name in _WHOLE:
            found = [parameters.get("query")]
        elif name in _BY_FIELD:
            key = _BY_FIELD[name]
            found = [p.get(key) if isinstance(p, Mapping) else p for p in parameters.values()]
        else:
            continue
        yield from found


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path; the short form of a clause ends one step before its long one."""
    if not path or (isinstance(value, str) and list(path) == ["query"]):
        return value
    if isinstance(value, Mapping):
        for n in range(len(path), 0, -1):  # field names hold dots themselves
            if (key := ".".join(path[:n])) in value:
                return _at(value[key], path[n:])
        return _at(value, path[1:]) if path[0] == "0" else None  # one clause, or a list of one
    if isinstance(value, list | tuple) and path[0].isdigit() and int(path[0]) < len(value):
        return _at(value[int(path[0])], path[1:])
    return None
