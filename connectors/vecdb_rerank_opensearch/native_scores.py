"""Have OpenSearch score the parts of a composed query beside the search: pure functions.

Named queries in a `post_filter` that every hit passes leave the search as it is: OpenSearch scores
them for the hits of the response alone, and returns the scores under `matched_queries`, if the URL
asks for them: https://docs.opensearch.org/latest/query-dsl/#named-queries
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank.protocols import Formula
from vecdb_rerank_opensearch.formula import NATIVE, Body, Composition, Named

# The argument of the URL that brings scores, and where they come.
WITH_SCORES = "include_named_queries_score"
NAMED = "hits.hits.matched_queries"
_PREFIX = "vecdb_rerank: "
_ALL: Mapping[str, object] = {"match_all": {}}


def asking(body: Body, composition: Composition) -> Body:
    """Return a body that has the parts of its composed query scored too."""
    own = body.get("post_filter")
    named = [
        {"bool": {"must": [query], "_name": f"{_PREFIX}{name}"}}
        for name, query in composition.asked.items()
    ]
    return {**body, "post_filter": {"bool": {"filter": [own or _ALL], "should": named}}}


def taken(
    response: Mapping[str, Any], *, with_scores: bool
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return a response without the names of `asking`, and their scores for each hit.

    The caller's own names keep their scores if the caller asked ``with_scores``.
    """
    hits = response.get("hits") or {}
    if "hits" not in hits:
        return dict(response), []
    kept, scores = _split(hits["hits"], with_scores)
    return {**response, "hits": {**hits, "hits": kept}}, scores


def formula(composition: Composition, scores: Sequence[Named]) -> Formula:
    """Return the formula over the native scores of the hits, in the order of the response.

    A hit has a native score of 0 if it only matches boosting clauses; it has none if no score came.
    """
    native = {n: named.get(NATIVE, 0.0) for n, named in enumerate(scores) if named}
    return Formula(native, lambda n, score: composition.value(score, scores[n]))


def _split(
    hits: Sequence[dict[str, Any]], with_scores: bool
) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    kept, scores = [], []
    for hit in hits:
        named = hit.get("matched_queries") or {}
        ours = {name for name in named if str(name).startswith(_PREFIX)}
        came = named if isinstance(named, Mapping) else {}
        scores.append({name.removeprefix(_PREFIX): came[name] for name in ours if name in came})
        kept.append(_without(hit, ours, with_scores))
    return kept, scores


def _without(hit: dict[str, Any], ours: set[str], with_scores: bool) -> dict[str, Any]:
    named = hit.get("matched_queries") or ()
    rest = [name for name in named if name not in ours]
    changes: dict[str, Any] = {}
    if rest:
        shown = with_scores and isinstance(named, Mapping)
        changes["matched_queries"] = {name: named[name] for name in rest} if shown else rest
    if "inner_hits" in hit:  # of a collapse: the same query
        changes["inner_hits"] = {
            name: taken(inner, with_scores=with_scores)[0]
            for name, inner in hit["inner_hits"].items()
        }
    cut = {**hit, **changes}  # in its place
    return (
        cut if rest else {name: value for name, value in cut.items() if name != "matched_queries"}
    )
