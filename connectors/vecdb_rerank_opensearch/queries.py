"""Turn a search into OpenSearch's own request bodies: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from vecdb_rerank._checks import shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector
from vecdb_rerank.ranking import branch_weights
from vecdb_rerank.request import BRANCHES, Fusion, Search
from vecdb_rerank_opensearch.layout import Layout

Body = dict[str, Any]

# Native arguments that go into the URL.
URL_PARAMS = ("routing", "preference")
# Lucene refuses a query of more clauses (1,024); each word makes one in each field.
MAX_CLAUSES = 1_000
# What the analyzers split a text into, or smaller: East Asian characters are words of their own.
_WORD = re.compile(r"[\u2e80-\U0003ffff]|[^\W\u2e80-\U0003ffff]+")
# A name with parts or symbols: getUser, HTTPServer, RFC9110, foo_bar, C++, C#.
_IDENTIFIER = re.compile(
    r"(?<!\w)(?:[A-Za-z]\w*(?:\+\+|#)(?![\w+#])|(?=\w*(?:[a-z][A-Z]|[A-Z]{2}[a-z]|[A-Za-z]{2}\d\d|\w_\w))\w+)"
)
# Keys of the body that the search itself sets.
_OURS = ("query", "size", "from", "search_pipeline", "sort", "search_after", "pit")
_FACETS = ("aggs", "aggregations")


def check(body: Mapping[str, Any] | None, filter: object) -> None:
    """Raise `ConfigurationError` for a wrong body or filter.

    The search itself sets some keys of the body.
    """
    if body is not None and not isinstance(body, Mapping):
        raise ConfigurationError("body", f"must be a mapping, got {shown(body)}")
    for name in _OURS:
        if name in (body or {}):
            raise ConfigurationError("body", f"{name!r} is set by the search; leave it out")
    queries = filter if isinstance(filter, list | tuple) else [filter]
    for query in queries:
        if filter is not None and not isinstance(query, Mapping):
            raise ConfigurationError(
                "filter",
                'must be a query such as {"term": {"year": 2024}}, or a list of them; '
                f"got {shown(query)}",
            )


def fused_by_database(fusion: Fusion) -> bool:
    """Check whether neural-search has this fusion; its RRF takes no weights."""
    if fusion.method == "dbsf":
        raise ConfigurationError("fusion.method", "dbsf is Qdrant's; use min_max or rrf")
    return fusion.method != "rrf" or not branch_weights.in_fusion(fusion)


def body(search: Search, vector: Vector | None, layout: Layout, shape: Mapping[str, Any]) -> Body:
    """Return the body for the search's mode, k hits deep; a hybrid one contains its fusion."""
    if search.mode != "hybrid":
        return {**shape, "size": search.k, "query": branch(search.mode, search, vector, layout)}
    branches = [branch(name, search, vector, layout) for name in BRANCHES]
    return {
        **shape,
        "size": search.k,
        "query": {"hybrid": {"queries": branches, "pagination_depth": search.depth}},
        "search_pipeline": pipeline(search.fusion),
    }


def branch(name: str, search: Search, vector: Vector | None, layout: Layout) -> Body:
    """Return the query of one branch, with the filter inside."""
    if name == "dense":
        depth = search.depth if search.mode == "hybrid" else search.k
        knn: Body = {"vector": list(vector or ()), "k": depth}
        if search.filter is not None:
            knn["filter"] = _one_query(search.filter)
        field = layout.dense_vector or ""
        return _nested(layout.nested_path(field), {"knn": {field: knn}})
    match = _match(search.query, layout)
    if search.filter is None:
        return match
    return {"bool": {"must": [match], "filter": search.filter}}


def _match(query: str, layout: Layout) -> Body:
    """Return the query of the text fields: the best one counts, and identifiers in addition."""
    text = _cut(query, MAX_CLAUSES // len(layout.bm25_fields))
    groups: dict[str | None, list[str]] = {}
    for field in layout.bm25_fields:
        groups.setdefault(layout.nested_path(field), []).append(field)
    matches = [_nested(path, _match_fields(text, fields)) for path, fields in groups.items()]
    match = matches[0] if len(matches) == 1 else {"dis_max": {"queries": matches}}
    names = " ".join(_IDENTIFIER.findall(text)) if layout.identifiers else ""
    if not names:
        return match
    parts = [
        _nested(layout.nested_path(field), _match_fields(names, [field]))
        for field in layout.identifiers
    ]
    return {"bool": {"should": [match, *parts]}}


def _match_fields(text: str, fields: Sequence[str]) -> Body:
    if len(fields) == 1 and not set("^*") & set(fields[0]):
        return {"match": {fields[0]: text}}
    return {"multi_match": {"query": text, "fields": list(fields)}}


def _nested(path: str | None, query: Body) -> Body:
    """Return the query of a field inside a nested object: a document's best object counts."""
    return (
        query if path is None else {"nested": {"path": path, "query": query, "score_mode": "max"}}
    )


def branch_body(
    name: str, search: Search, vector: Vector | None, layout: Layout, shape: Mapping[str, Any]
) -> Body:
    """Return the body of one branch alone, as deep as the branch goes."""
    return {**shape, "size": search.depth, "query": branch(name, search, vector, layout)}


def without_facets(shape: Mapping[str, Any]) -> tuple[Body, bool]:
    """Return the shape without aggregations, and whether it had any."""
    plain = {name: value for name, value in shape.items() if name not in _FACETS}
    return plain, len(plain) < len(shape)


def union_body(
    search: Search, vector: Vector | None, layout: Layout, shape: Mapping[str, Any]
) -> Body:
    """Return a body that counts what either branch finds, as a hybrid query does; no hits."""
    branches = [branch(name, search, vector, layout) for name in BRANCHES]
    return {**shape, "size": 0, "query": {"bool": {"should": branches}}}


def pipeline(fusion: Fusion) -> Body:
    """Return the fusion as an inline search pipeline of neural-search."""
    if fusion.method == "rrf":
        # rank_constant counts only under `parameters`; beside `technique` it is ignored.
        constant = {"rank_constant": fusion.rank_constant}
        combination: Body = {"technique": "rrf", "parameters": constant}
        processor: Body = {"score-ranker-processor": {"combination": combination}}
    else:
        processor = {
            "normalization-processor": {
                "normalization": {"technique": fusion.method},
                "combination": {
                    "technique": "arithmetic_mean",
                    "parameters": {"weights": list(branch_weights.prior(fusion))},
                },
            }
        }
    return {"phase_results_processors": [processor]}


def msearch(layout: Layout, params: Mapping[str, Any], bodies: Sequence[Body]) -> list[Body]:
    """Return the lines of an ``_msearch``: a header and a body for each search."""
    header = {"index": layout.index, **params}
    return [line for body in bodies for line in (header, body)]


def _cut(query: str, words: int) -> str:
    """Return the first ``words`` words of a query, far more than an embedder or reranker reads."""
    next_word = next(islice(_WORD.finditer(query), words, None), None)
    return query if next_word is None else query[: next_word.start()]


def _one_query(given: Any) -> Any:
    """Return a filter as a single query, as knn wants it; of a list all have to match."""
    return given if isinstance(given, Mapping) else {"bool": {"filter": given}}
