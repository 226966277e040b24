"""What a search that somebody else wrote asks for: pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vecdb_rerank.search import Mode
from vecdb_rerank_opensearch import clauses
from vecdb_rerank_opensearch.showing import hidden
from vecdb_rerank_opensearch.widening import Page

Body = Mapping[str, Any]
# Arguments of the URL that override the body's part of that name.
_OVERRIDING = ("from", "size", "sort", "stored_fields", "_source")
_SOURCE = ("_source", "_source_includes", "_source_excludes")
_VECTORS = {"knn", "neural", "neural_sparse"}


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


def effective(body: Body, url: Mapping[str, Any]) -> Body:
    """The body with what the URL overrides in it, as the server reads the two."""
    merged = {**body, **{name: url[name] for name in _OVERRIDING if name in url}}
    if "q" in url:
        merged["query"] = {"query_string": {"query": url["q"]}}
    return merged if len(merged) != len(body) or merged != body else body


def reason_to_pass(body: Body, url: Mapping[str, Any]) -> str | None:
    """Why an (effective) body is not to be reranked, or None."""
    return next(_reasons(body, url), None)


def _reasons(body: Body, url: Mapping[str, Any]) -> Iterator[str]:
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
    if "_none_" in _listed(body.get("stored_fields")):
        yield "stored_fields: _none_ hides the ids"


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


def text_in_source(
    body: Body, url: Mapping[str, Any], paths: Sequence[str], hits: str = "hits.hits"
) -> bool:
    """Whether hits come with the fields ``paths`` in their source anyway."""
    if any(url.get(name) not in (None, True, "true") for name in _SOURCE):
        return False
    if body.get("_source") not in (None, True, "true"):
        return False
    if body.get("stored_fields") and body.get("_source") is None:
        return False  # then the source comes only where it is asked for
    return hidden(url.get("filter_path"), [f"{hits}._source.{path}" for path in paths]) is None


def unshown(url: Mapping[str, Any], in_source: bool, hits: str = "hits.hits") -> str | None:
    """Why ``filter_path`` lets no reranking be, or None; ``in_source`` is where the text is."""
    needed = [f"{hits}._id", f"{hits}._score", *([] if in_source else [f"{hits}.fields"])]
    path = hidden(url.get("filter_path"), needed)
    return None if path is None else f"filter_path: hides {path}, or the text to rerank"


def mode(body: Body) -> Mode:
    """What kind of search a body is."""
    names = {name for name, _ in clauses.scoring(body.get("query"))}
    if "hybrid" in names:
        return "hybrid"
    return "dense" if names & _VECTORS else "bm25"


def _listed(given: Any) -> list[Any]:
    """A list, its comma-separated form, or nothing, as a list."""
    if isinstance(given, str):
        return given.split(",")
    return list(given) if isinstance(given, list | tuple) else []
