"""Read a search request: pure functions over JSON-shaped mappings.

This module imports no client library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.request import Mode
from vecdb_rerank.search.dropin import RequestInfo, RerankDepth
from vecdb_rerank_opensearch import clauses, composed_order, depth, formula, source_selection
from vecdb_rerank_opensearch.depth import Body, Page
from vecdb_rerank_opensearch.filter_path import first_missing
from vecdb_rerank_opensearch.formula import Composition
from vecdb_rerank_opensearch.native_scores import NAMED
from vecdb_rerank_opensearch.query_text import query_texts
from vecdb_rerank_opensearch.source_selection import Projection

# Calls that are never reranked, and why.
TEMPLATES = {
    "search_template": "the server makes the body of a template",
    "msearch_template": "the server makes the bodies of templates",
}
# Arguments of the URL that override the body's part of that name.
PAGE = ("from", "size")
_OVERRIDING = (*PAGE, "sort", "stored_fields", "_source", "terminate_after")
_SOURCE = ("_source", "_source_includes", "_source_excludes")


@dataclass(frozen=True, slots=True)
class Request:
    """One search as the caller wrote it: its body (None: not a JSON object) and its URL arguments.

    ``root`` is where its response is in the answer, ``needed`` what the answer must have besides
    the hits.
    """

    body: Body | None
    url: Mapping[str, object]
    root: str = ""
    needed: tuple[str, ...] = ()

    @classmethod
    def of_many(cls, body: Body | None, url: Mapping[str, object]) -> Request:
        """Return one of an ``_msearch``: without a status, a response without hits would vanish."""
        return cls(body, url, "responses.", ("responses.status",))

    @property
    def effective(self) -> Body:
        """The body with what the URL overrides in it, as the server reads the two."""
        body = self.body or {}
        over = {name: self.url[name] for name in _OVERRIDING if name in self.url}
        if "q" in self.url:
            over["query"] = {"query_string": {"query": self.url["q"]}}
        if "stored_fields" in over:
            over["stored_fields"] = listed(over["stored_fields"])
        if "docvalue_fields" in self.url:  # those of the body come as well
            own = listed(body.get("docvalue_fields"))
            over["docvalue_fields"] = [*listed(self.url["docvalue_fields"]), *own]
        return {**body, **over} if over else body

    def shows(self, paths: Sequence[str]) -> bool:
        """Check whether the answer has all ``paths``, given from the response on."""
        return self.first_hidden(paths) is None

    def first_hidden(self, paths: Sequence[str], needed: Sequence[str] = ()) -> str | None:
        """Return the first of ``needed`` and ``paths`` that ``filter_path`` takes out."""
        whole = [*needed, *(f"{self.root}{path}" for path in paths)]
        return first_missing(self.url.get("filter_path"), whole)


def read(
    request: Request,
    paths: Sequence[str],
    k: int,
    rerank_depth: RerankDepth = "window",
    *,
    one_shard: bool = True,
) -> RequestInfo:
    """Return ``request`` in the terms that all databases share.

    ``paths`` are the fields of a document that are its text, ``k`` is the size of the window that
    is reranked. ``one_shard`` is False if the search is known to go to several.
    """
    body = request.effective
    texts = query_texts(body)
    if (why := obstacle(request, paths)) is not None:
        return RequestInfo(_mode(body), 0, texts=texts, obstacle=why)
    page = Page.of(body)
    if rerank_depth == "own" or depth.acts_on_page(body):
        notes = {} if rerank_depth == "own" else {"own_depth": "search_pipeline acts on the page"}
        return RequestInfo(
            _mode(body),
            page.limit,
            texts=texts,
            deterministic_ties=True,
            own_depth=True,
            notes=notes,
        )
    one_shard = one_shard and request.shows(["_shards.total"])
    neighbours = depth.available(body, k) if one_shard else None
    limit = page.limit if neighbours is None else min(page.limit, neighbours - page.offset)
    kept = depth.kept(body, k, one_shard=one_shard)
    return RequestInfo(
        mode=_mode(body),
        limit=limit,
        offset=page.offset,
        texts=texts,
        deterministic_ties=True,
        available=neighbours,
        notes={} if kept is None else {"own_depth": kept},
    )


def projection(request: Request, paths: Sequence[str]) -> Projection:
    """Return what the request needs for the response to contain the fields ``paths``."""
    body = request.effective
    if _text_in_source(body, request, paths):
        return Projection({})
    return source_selection.bringing(paths, body)


def deepen_request(request: Request, info: RequestInfo, k: int) -> Body:
    """Return the body ``k`` hits deep, with the URL's page in it; its own if deep enough."""
    body = {} if request.body is None else request.body
    if info.own_depth:
        return body
    page = {name: request.url[name] for name in PAGE if name in request.url}
    whole = {**body, **page} if page else body
    deep = depth.deepen(whole, k, one_shard=info.available is not None)
    return body if deep is whole else deep


def parsed(body: object) -> Body | None:
    """Return a body, or its JSON, as a mapping: empty for no body, None for anything else."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if body is None:
        return {}
    return body if isinstance(body, Mapping) else None


def url_arguments(
    params: Mapping[str, object] | None, named: Mapping[str, object]
) -> dict[str, object]:
    """Return what goes into the URL: ``params``, and named arguments, which win."""
    given = {**(params or {}), **{name: v for name, v in named.items() if v is not None}}
    if "from_" in given:
        given["from"] = given.pop("from_")
    return given


def obstacle(request: Request, paths: Sequence[str]) -> str | None:
    """Return why the hits of ``request`` must keep their order; None if they may be reranked."""
    return next(_obstacles(request.effective, request, paths), None)


def _obstacles(body: Body, request: Request, paths: Sequence[str]) -> Iterator[str]:
    """Yield why an (effective) body is not reranked."""
    url = request.url
    if request.body is None:
        yield "body: not a JSON object"
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
    yield from _without_page(body)
    if (why := _not_kept(body, request)) is not None:
        yield why
    if "_none_" in listed(body.get("stored_fields")):
        yield "stored_fields: _none_ hides the ids"
    in_source = _text_in_source(body, request, paths)
    if not in_source and (replaced := source_selection.replaced(paths, body)) is not None:
        yield f"{replaced} stands for a part of the text, which _source leaves out"
    text = [] if in_source else ["hits.hits.fields"]
    hidden = request.first_hidden(["hits.hits._id", "hits.hits._score", *text], request.needed)
    if hidden is not None:
        yield f"filter_path: hides {hidden}, or the text to rerank"


def composition(request: Request) -> Composition | None:
    """Return how the score of a request is composed; None if it is the relevance alone.

    Raises `formula.NotKept` if that cannot be kept in force after reranking.
    """
    return formula.read(request.effective, query_texts(request.effective))


def _not_kept(body: Body, request: Request) -> str | None:
    """Return why the order of a body is composed and cannot be kept in force."""
    try:
        if (found := composition(request)) is None:
            return None
    except formula.NotKept as why:
        return str(why)
    name = str(composed_order.reason(body, query_texts(body))).partition(":")[0]
    if request.root:
        return f"{name}: an _msearch does not bring the scores under it"
    if request.first_hidden([NAMED]) is not None:
        return f"filter_path: hides {NAMED}, the scores under {name}"
    try:
        page = Page.of(body)
    except ValueError:
        return None
    if found.window is not None and page.end > found.window:
        return f"rescore: the page ends past its window_size of {found.window}"
    return None


def _without_page(body: Body) -> Iterator[str]:
    try:
        page = Page.of(body)
    except ValueError:
        yield "from, size: not numbers of hits"
        return
    if page.limit == 0:
        yield "size: 0, no hits are wanted"
    hybrid = next((p for name, p in clauses.scoring(body.get("query")) if name == "hybrid"), None)
    if page.offset and isinstance(hybrid, Mapping) and hybrid.get("pagination_depth") is None:
        yield "hybrid: without pagination_depth it has no pages"


def _by_score(sort: object) -> bool:
    """Check whether a sort is by score alone, best first: what the server does without one."""
    keys = sort.split(",") if isinstance(sort, str) else sort
    keys = keys if isinstance(keys, list | tuple) else [keys]
    return not sort or (len(keys) == 1 and _is_score(keys[0]))


def _is_score(key: object) -> bool:
    if isinstance(key, str):
        return key in ("_score", "_score:desc")
    if not isinstance(key, Mapping) or list(key) != ["_score"]:
        return False
    how = key["_score"]
    return (how.get("order", "desc") if isinstance(how, Mapping) else how) == "desc"


def _text_in_source(body: Body, request: Request, paths: Sequence[str]) -> bool:
    """Check whether hits bring the fields ``paths`` in their source by themselves."""
    url = request.url
    if any(url.get(name) not in (None, True, "true") for name in _SOURCE):
        return False
    if body.get("_source") not in (None, True, "true"):
        return False
    if body.get("_source") is None and _replaces_source(body):
        return False
    return request.shows([f"hits.hits._source.{path}" for path in paths])


def _replaces_source(body: Body) -> bool:
    """Check whether the source comes only if it is requested."""
    return body.get("stored_fields") is not None or bool(body.get("script_fields"))


def _mode(body: Body) -> Mode:
    """Return what kind of search a body is."""
    names = {name for name, _ in clauses.scoring(body.get("query"))}
    if "hybrid" in names:
        return "hybrid"
    return "dense" if names & {*clauses.VECTORS} else "bm25"


def listed(given: object) -> list[object]:
    """Return a list from itself, its comma-separated form, or nothing."""
    if isinstance(given, str):
        return [*given.split(",")]
    return list(given) if isinstance(given, list | tuple) else []
