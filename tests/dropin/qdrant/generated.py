"""Requests over all that Qdrant's query API takes, generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from qdrant_client.http import models

from tests.dropin.qdrant.collection import (
    COUNT,
    DENSE,
    DIMENSION,
    DISTANT,
    MANY,
    SPARSE,
    WORDS,
    point_id,
)
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import Bm25

QUERY = "harbour lantern"
MISSING = object()


@dataclass(frozen=True)
class Asked:
    """What a request is made of: the query's arguments, and whether its order has ties alike.

    ``pages_on``: past the window the server's own order goes on. ``ascending``: less is better.
    """

    arguments: dict[str, Any]
    pages_on: bool = False
    ascending: bool = False


numbers = st.sampled_from((0.25, 0.5, 0.75, 1.0))
vectors = st.lists(numbers, min_size=DIMENSION, max_size=DIMENSION)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True).map(" ".join)
sparse = texts.map(lambda text: Bm25().query(text))
ids = st.integers(0, COUNT - 1).map(point_id)

filters = st.one_of(
    st.none(),
    st.sampled_from(WORDS[:7]).map(
        lambda topic: models.Filter(
            must_not=[models.FieldCondition(key="topic", match=models.MatchValue(value=topic))]
        )
    ),
    st.integers(0, COUNT).map(
        lambda n: models.Filter(
            must=[models.FieldCondition(key="meta.n", range=models.Range(gte=n))]
        )
    ),
)
params = st.one_of(
    st.none(), st.just(models.SearchParams(exact=True)), st.just(models.SearchParams(hnsw_ef=200))
)
limits = st.one_of(st.just(MISSING), st.integers(1, 12), st.integers(1, COUNT + 10))
offsets = st.one_of(
    st.just(MISSING), st.none(), st.just(0), st.integers(0, 12), st.integers(0, 150)
)

paths = st.sampled_from(
    (
        "title",
        "text",
        "meta",
        "meta.n",
        "meta.s",
        "meta.deep",
        "meta.deep.b[]",
        "meta.zz",
        "tags",
        "tags[]",
        "tags[].a",
        "tags[].b",
        "tags.a",
        "tags[0].b",
        '"a.b"',
        "a.b",
        '"with space"',
        "none",
        "empty.x",
        "sometimes",
        "title.x",
        "nothing",
    )
)
some_paths = st.lists(paths, max_size=4)
payloads = st.one_of(
    st.just(MISSING),
    st.none(),
    st.booleans(),
    some_paths,
    some_paths.map(lambda include: models.PayloadSelectorInclude(include=include)),
    some_paths.map(lambda exclude: models.PayloadSelectorExclude(exclude=exclude)),
)
with_vectors = st.sampled_from((MISSING, False, True, [DENSE], [SPARSE, MANY], []))
text_fields = st.sampled_from(
    (
        TextFields(),
        TextFields(("text",)),
        TextFields(("meta.s",)),
        TextFields(("tags.a", "meta.n")),
        TextFields(("a.b",)),
        TextFields(("with space",)),
        TextFields(template="{meta.s}: {title}"),
    )
)
depths = st.sampled_from((1, 3, 7, 20, 50, 200))


@st.composite
def single(draw: Any, /, query: Any, using: str, **known: bool) -> Asked:
    """A query of one branch."""
    arguments = {"query": draw(query), "using": using, "search_params": draw(params)}
    return Asked(arguments, **known)


def _nearest(query: Any) -> Any:
    return st.one_of(query, query.map(lambda nearest: models.NearestQuery(nearest=nearest)))


dense = single(_nearest(vectors), DENSE, pages_on=True)
distant = single(_nearest(vectors), DISTANT, pages_on=True, ascending=True)
late = single(st.lists(vectors, min_size=1, max_size=2), MANY, pages_on=True)
terms = single(_nearest(sparse), SPARSE)
like = single(_nearest(ids), DENSE)


@st.composite
def leaf(draw: Any) -> models.Prefetch:
    query, using = draw(
        st.sampled_from(((vectors, DENSE), (vectors, DISTANT), (sparse, SPARSE), (ids, DENSE)))
    )
    return models.Prefetch(
        query=draw(query),
        using=using,
        filter=draw(filters),
        limit=draw(st.one_of(st.none(), st.integers(1, 80))),
    )


@st.composite
def branch(draw: Any) -> models.Prefetch:
    """A prefetch, or one that scores the hits of others again."""
    if draw(st.integers(0, 3)):
        return draw(leaf())
    return models.Prefetch(
        prefetch=draw(st.lists(leaf(), min_size=1, max_size=2)),
        query=draw(vectors),
        using=DENSE,
        limit=draw(st.one_of(st.none(), st.integers(1, 80))),
    )


fusions = st.one_of(
    st.just(models.FusionQuery(fusion=models.Fusion.RRF)),
    st.just(models.FusionQuery(fusion=models.Fusion.DBSF)),
    st.integers(1, 60).map(lambda k: models.RrfQuery(rrf=models.Rrf(k=k))),
)


@st.composite
def fused(draw: Any) -> Asked:
    branches = draw(st.lists(branch(), min_size=1, max_size=3))
    return Asked({"prefetch": branches, "query": draw(fusions)})


@st.composite
def rescored(draw: Any) -> Asked:
    prefetch = draw(st.one_of(branch(), st.lists(branch(), min_size=1, max_size=2)))
    return Asked({"prefetch": prefetch, "query": draw(vectors), "using": DENSE})


@st.composite
def weighed(draw: Any) -> Asked:
    """The scores of what two prefetches found, weighed and added."""
    parts = [models.MultExpression(mult=[draw(numbers), f"$score[{n}]"]) for n in range(2)]
    formula = models.FormulaQuery(
        formula=models.SumExpression(sum=parts), defaults={"$score[0]": 0.0, "$score[1]": 0.0}
    )
    return Asked({"prefetch": [draw(leaf()), draw(leaf())], "query": formula})


reranked = st.one_of(dense, distant, late, terms, like, fused(), rescored(), weighed())


@st.composite
def passed(draw: Any) -> Asked:
    """A query whose order is not one by relevance to a text."""
    positive = draw(st.lists(ids, min_size=2, max_size=3, unique=True))
    recommend = models.RecommendQuery(recommend=models.RecommendInput(positive=positive[:1]))
    pair = models.ContextPair(positive=positive[0], negative=positive[1])
    discover = models.DiscoverInput(target=positive[0], context=[pair])
    near = models.NearestQuery(nearest=draw(vectors), mmr=models.Mmr(diversity=0.3))
    parts = draw(
        st.sampled_from(
            (
                ["meta.n"],
                ["$score", "meta.n", "$score[1]"],
                ["$score", models.HasVectorCondition(has_vector=SPARSE)],
            )
        )
    )
    featured = models.FormulaQuery(
        formula=models.SumExpression(sum=parts), defaults={"meta.n": 0.0}
    )
    by_field = models.OrderByQuery(order_by=models.OrderBy(key="meta.n"))
    query, using = draw(
        st.sampled_from(
            (
                (recommend, DENSE),
                (models.DiscoverQuery(discover=discover), DENSE),
                (models.ContextQuery(context=[pair]), DENSE),
                (near, DENSE),
                (by_field, MISSING),
                (featured, MISSING),
                (models.SampleQuery(sample=models.Sample.RANDOM), MISSING),
                (None, MISSING),
            )
        )
    )
    prefetch = draw(leaf()) if query is featured else MISSING
    return Asked(present({"query": query, "using": using, "prefetch": prefetch}))


def present(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that are given at all."""
    return {name: value for name, value in arguments.items() if value is not MISSING}


@st.composite
def requests(draw: Any, queries: Any) -> Asked:
    """A whole call of ``query_points``."""
    asked = draw(queries)
    rest = {
        "query_filter": draw(filters),
        "limit": draw(limits),
        "offset": draw(offsets),
        "with_payload": draw(payloads),
        "with_vectors": draw(with_vectors),
        "timeout": draw(st.sampled_from((MISSING, 20))),
        "consistency": draw(st.sampled_from((MISSING, models.ReadConsistencyType.MAJORITY))),
    }
    if asked.pages_on and not asked.ascending:
        rest["score_threshold"] = draw(st.sampled_from((MISSING, None, 0.9, 0.99)))
    return Asked({**asked.arguments, **present(rest)}, asked.pages_on, asked.ascending)
