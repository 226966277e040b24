"""Have OpenSearch score the parts of a composed query beside the search: pure functions.

The parts are named queries. Their scores come under `matched_queries`, if the URL asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank.protocols import Formula
from vecdb_rerank_opensearch import named_queries
from vecdb_rerank_opensearch.formula import NATIVE, Body, Composition, Named

# The argument of the URL that brings scores, and where they come.
WITH_SCORES = "include_named_queries_score"
NAMED = f"hits.hits.{named_queries.MATCHED}"
_PREFIX = "vecdb_rerank.formula."


def asking(body: Body, composition: Composition) -> dict[str, object]:
    """Return the part of a body that has the parts of its composed query scored too."""
    named = [
        {"bool": {"must": [query], "_name": f"{_PREFIX}{name}"}}
        for name, query in composition.asked.items()
    ]
    return named_queries.asking(body, named)


def taken(
    response: Mapping[str, object], *, with_scores: bool
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return a response without the names of `asking`, and their scores for each hit.

    The caller's own names keep their scores if the caller asked ``with_scores``.
    """
    response = named_queries.aggregations_stripped(response, _PREFIX, with_scores=with_scores)
    hits = response.get("hits")
    if not isinstance(hits, Mapping) or not isinstance(hits.get("hits"), list):
        return response, []
    scores = [_scores(hit) for hit in hits["hits"]]
    kept = [named_queries.stripped(h, _PREFIX, with_scores=with_scores) for h in hits["hits"]]
    return {**response, "hits": {**hits, "hits": kept}}, scores


def formula(composition: Composition, scores: Sequence[Named]) -> Formula:
    """Return the formula over the native scores of the hits, in the order of the response.

    A hit has a native score of 0 if it only matches boosting clauses; it has none if no score came.
    """
    native = {n: named.get(NATIVE, 0.0) for n, named in enumerate(scores) if named}
    return Formula(native, lambda n, score: composition.value(score, scores[n]))


def _scores(hit: Mapping[str, object]) -> dict[str, float]:
    """Return the scores of the parts of a hit; none if the server brings names alone."""
    named = hit.get(named_queries.MATCHED)
    if not isinstance(named, Mapping):
        return {}
    return {n.removeprefix(_PREFIX): s for n, s in named.items() if n.startswith(_PREFIX)}
