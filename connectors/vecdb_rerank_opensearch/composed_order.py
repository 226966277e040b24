"""Find out whether a search's score is more than relevance to a text: pure functions.

Reranking replaces the order by score. If the caller composed that score of something else (a
boost, a script, the distance to a place), reranking would undo it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from vecdb_rerank_opensearch import clauses
from vecdb_rerank_opensearch.query_text import RELEVANCE

# Clauses whose score is another thing, wherever they score.
_OTHER = {
    "boosting": "a part of the hits is demoted",
    "distance_feature": "hits near a date or place are boosted",
    "percolate": "the hits are stored queries",
    "pinned": "some hits are put first",
    "rank_feature": "the score is a feature of the hits",
    "sltr": "a model orders the hits",
}
_PLAIN_FUNCTION_SCORE = {"query", "boost", "boost_mode", "max_boost", "min_score", "score_mode"}
# Clauses on single words; for the query's own text they are relevance to it.
_WORDS = ("fuzzy", "prefix", "regexp", "term", "wildcard")
_ALL = ("match_all", "match_none")  # the same score for every hit
_VECTOR_FUNCTION = re.compile(
    r"""(cosineSimilarity|innerProduct|l1Norm|l2Squared|lInfNorm|hamming)
        \(\s*[\w.]+\s*,\s*doc\[[^\]]+\]\s*\)""",
    re.VERBOSE,
)


def reason(body: Mapping[str, object], texts: Sequence[str]) -> str | None:
    """Return what the score is besides relevance; None if nothing.

    ``texts`` are the query texts of the body: a clause that matches one of them boosts relevance.
    """
    if body.get("rescore"):
        return "rescore: the order is composed of two scores"
    return beside_query(body) or reason_of(body.get("query"), texts, optional=False)


def beside_query(body: Mapping[str, object]) -> str | None:
    """Return what orders the hits apart from the scores of query and rescore."""
    if body.get("indices_boost"):
        return "indices_boost: hits of one index are boosted"
    if "personalize_search_ranking" in processors(body, "response_processors"):
        return "search_pipeline: the order is the user's own"
    return None


def reason_of(query: object, texts: Sequence[str], *, optional: bool) -> str | None:
    """Return what the score of a query is besides relevance; ``optional`` if it is beside others.

    An optional clause adds its score to some hits and not to others.
    """
    said = {text.casefold() for text in texts}
    return next(_reasons(query, said, optional=optional), None)


def processors(body: Mapping[str, object], phase: str) -> set[str]:
    """Return the names of an inline search pipeline's processors of one phase."""
    pipeline = body.get("search_pipeline")
    found = pipeline.get(phase) if isinstance(pipeline, Mapping) else None
    return {name for name, _ in clauses.each(found)}


def _reasons(query: object, texts: set[str], *, optional: bool) -> Iterator[str]:
    """Yield why the score of a query is more than relevance.

    An ``optional`` clause adds its score to some hits and not to others. What all hits have to
    match (a `term` in `must`) adds the same score to each.
    """
    for name, parameters in clauses.each(query):
        if name in _OTHER:
            yield f"{name}: {_OTHER[name]}"
        elif name == "function_score":
            if isinstance(parameters, Mapping) and has_functions(parameters):
                yield "function_score: the score is more than the relevance"
        elif name == "script_score":
            if isinstance(parameters, Mapping) and not _is_similarity(parameters.get("script")):
                yield "script_score: a script computes the score"
        elif name == "more_like_this":
            if isinstance(parameters, Mapping) and _likes_documents(parameters.get("like")):
                yield "more_like_this: hits resemble other documents"
        elif optional and not _is_relevance(name, parameters, texts):
            yield f"{name}: hits that match it are boosted"
        for at, inner in _inside(name, parameters):
            yield from _reasons(inner, texts, optional=at or optional)


def _inside(name: str, parameters: object) -> Iterator[tuple[bool, object]]:
    """Yield the scoring clauses inside a clause, and whether they are beside others."""
    if not isinstance(parameters, Mapping):
        return
    inner = [(at, parameters.get(at)) for at in clauses.INNER.get(name, ())]
    alone = sum(1 for _, query in inner for _ in clauses.each(query)) == 1
    for at, query in inner:
        yield at in ("should", "queries") and not alone, query


def _is_relevance(name: str, parameters: object, texts: set[str]) -> bool:
    if name in RELEVANCE or name in clauses.INNER or name in _ALL or name.startswith("span_"):
        return True
    words = _strings(parameters) if name in _WORDS else ()
    return any(word.strip(" *").casefold() in texts for word in words)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)


def has_functions(function_score: Mapping[str, object]) -> bool:
    """Check whether a `function_score` has any function."""
    functions = (v for name, v in function_score.items() if name not in _PLAIN_FUNCTION_SCORE)
    return any(given is not None and not (type(given) is list and not given) for given in functions)


def _is_similarity(script: object) -> bool:
    """Check whether a script computes the similarity of vectors and nothing else.

    That is exact k-NN: https://docs.opensearch.org/latest/vector-search/vector-search-techniques/knn-score-script/
    """
    if not isinstance(script, Mapping):
        return False
    if script.get("lang") == "knn":
        return True
    source = script.get("source")
    if not isinstance(source, str):
        return False
    rest, count = _VECTOR_FUNCTION.subn("", source)
    return count == 1 and not rest.strip(" \n;()0123456789.+/")


def _likes_documents(like: object) -> bool:
    likes = like if isinstance(like, list | tuple) else [like]
    return any(isinstance(one, Mapping) for one in likes)
