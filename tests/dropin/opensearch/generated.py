"""Searches over what OpenSearch's search knows, as arguments of ``client.search``."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vecdb_rerank.text_fields import TextFields

Arguments = dict[str, Any]
QUERY = "honey bees"
MISSING = object()

texts = st.sampled_from(("bees", "honey bees", "dance hive", "nectar"))
vectors = st.sampled_from(([0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.2, 0.3]))
filters = st.sampled_from(
    ({"term": {"lang": "en"}}, {"range": {"year": {"gte": 2002}}}, {"match": {"text": "honey"}})
)
depths = st.sampled_from((5, 20, 50, 200))
text_fields = st.sampled_from(
    (
        TextFields(),
        TextFields(("text",)),
        TextFields(("meta.summary", "text")),
        TextFields(template="{title}: {meta.author.name}"),
        TextFields(("tags.a",)),
        TextFields(("meta",)),
    )
)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(MISSING), st.just(MISSING), strategy)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Arguments]:
    """A dict with some of the fields."""
    return st.fixed_dictionaries({name: optional(value) for name, value in fields.items()}).map(
        lambda given: {name: value for name, value in given.items() if value is not MISSING}
    )


def knn_of(vector: list[float], k: int, inner: Any) -> Any:
    return {"knn": {"dense": {"vector": vector, "k": k, **({"filter": inner} if inner else {})}}}


knn = st.builds(knn_of, vectors, st.sampled_from((1, 3, 10, 60)), st.none() | filters)
lexical = st.one_of(
    texts.map(lambda text: {"match": {"text": text}}),
    texts.map(lambda text: {"match": {"text": {"query": text, "operator": "or"}}}),
    texts.map(lambda text: {"multi_match": {"query": text, "fields": ["title^2", "text"]}}),
    texts.map(lambda text: {"query_string": {"query": text, "default_field": "text"}}),
    texts.map(lambda text: {"simple_query_string": {"query": text, "fields": ["text"]}}),
    texts.map(lambda text: {"match_phrase": {"text": {"query": text, "slop": 5}}}),
    texts.map(lambda text: {"intervals": {"text": {"match": {"query": text}}}}),
    texts.map(lambda text: {"more_like_this": {"like": text, "min_term_freq": 1}}),
)
compound = st.one_of(
    st.builds(lambda q, f: {"bool": {"must": [q], "filter": f}}, lexical, filters),
    st.builds(lambda q, v: {"bool": {"should": [q, v]}}, lexical, knn),
    st.builds(lambda q, f: {"bool": {"must": q, "must_not": [f]}}, lexical, filters),
    st.builds(lambda q, r: {"dis_max": {"queries": [q, r]}}, lexical, lexical),
    st.builds(lambda q, f: {"bool": {"must": [q, f]}}, lexical, filters),
    st.builds(lambda v, f: {"bool": {"must": [v], "filter": [f]}}, knn, filters),
    st.builds(lambda q: {"function_score": {"query": q, "boost": 2}}, lexical),
    st.builds(lambda q, f: {"constant_score": {"filter": f}}, lexical, filters),
    st.just({"match_all": {}}),
)
pipelines = st.sampled_from(
    (
        {"score-ranker-processor": {"combination": {"technique": "rrf"}}},
        {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean"},
            }
        },
    )
).map(lambda processor: {"phase_results_processors": [processor]})


def hybrid_of(q: Any, v: Any, depth: int | None, pipeline: Any) -> Any:
    hybrid = {"queries": [q, v], **({"pagination_depth": depth} if depth else {})}
    return {"query": {"hybrid": hybrid}, "search_pipeline": pipeline}


single = st.one_of(lexical, knn, compound).map(lambda query: {"query": query})
hybrid = st.builds(hybrid_of, lexical, knn, st.sampled_from((None, None, 5, 30, 60)), pipelines)

sources = st.sampled_from(
    (
        True,
        False,
        "meta.n",
        ["title", "meta.n"],
        ["tags.a"],
        ["meta.*", "text"],
        [],
        {"includes": ["tags.a", "meta.author"]},
        {"excludes": ["dense"]},
        {"includes": ["*"], "excludes": ["text", "meta.summary"]},
        {"includes": ["t*"], "excludes": ["tags.b"]},
    )
)
fields = st.lists(
    st.sampled_from(
        (
            "year",
            "title",
            "title.raw",
            "t*",
            "meta.*",
            "tags.a",
            "meta.author.name",
            {"field": "date", "format": "epoch_millis"},
        )
    ),
    max_size=3,
)
doc_values = st.lists(st.sampled_from(("lang", "title.raw", "meta.n", "tags.b")), max_size=2)
aggregations = st.just({"years": {"terms": {"field": "year"}}})
highlights = st.sampled_from(
    ({"fields": {"text": {}}}, {"fields": {"t*": {}}, "require_field_match": False})
)
suggestions = st.just({"s": {"text": "hony", "term": {"field": "text"}}})
sorts = st.sampled_from(("_score", ["_score"], [{"_score": "desc"}], {"_score": {"order": "desc"}}))
on_all = record(
    _source=sources,
    fields=fields,
    docvalue_fields=doc_values,
    highlight=highlights,
    aggs=aggregations,
    min_score=st.sampled_from((0.0, 0.5)),
    explain=st.booleans(),
    version=st.booleans(),
    seq_no_primary_term=st.booleans(),
    track_total_hits=st.sampled_from((True, False, 5)),
    sort=sorts,
    timeout=st.just("20s"),
    post_filter=filters,
)
# What a hybrid query refuses, or does not heed.
on_single = record(
    collapse=st.sampled_from(
        (
            {"field": "year"},
            {"field": "lang", "inner_hits": {"name": "more", "size": 2, "_source": ["meta.n"]}},
        )
    ),
    profile=st.booleans(),
    suggest=suggestions,
    stored_fields=st.sampled_from((["year"], "lang", [])),
    script_fields=st.sampled_from(("twice", "title")).map(
        lambda name: {name: {"script": {"source": "doc['year'].value * 2"}}}
    ),
    terminate_after=st.just(20),
)
page: dict[str, Any] = {"size": st.integers(1, 70), "from": st.integers(0, 70)}
pages = record(**page)
bodies = st.one_of(
    st.builds(lambda *parts: merged(*parts), single, on_all, on_single, pages),
    st.builds(lambda *parts: merged(*parts), hybrid, on_all, pages),
)
urls = record(
    size=st.integers(1, 70),
    from_=st.integers(0, 40),
    _source=st.sampled_from(("meta.n,year", "false", ["title"], True)),
    _source_includes=st.sampled_from(("t*", ["meta.n", "tags.a"])),
    _source_excludes=st.sampled_from(("dense", ["text", "meta"])),
    docvalue_fields=st.sampled_from(("lang,year", ["date"])),
    rest_total_hits_as_int=st.booleans(),
    typed_keys=st.booleans(),
    request_timeout=st.just(30),
    filter_path=st.sampled_from(
        (
            "hits",
            "hits.hits._id,hits.hits._index,hits.hits._score,hits.hits._source",
            ["took", "hits.hits", "aggregations"],
            "-hits.total,-took",
        )
    ),
    preference=st.just("_local"),
)


def merged(*parts: Arguments) -> Arguments:
    return {name: value for part in parts for name, value in part.items()}


@st.composite
def searches(draw: st.DrawFn) -> Arguments:
    """The arguments of a search that is reranked; which index it is for is a number."""
    url = draw(urls)
    spread = draw(st.booleans())
    arguments: Arguments = {"body": draw(bodies), "index": draw(st.integers(0, 5))}
    return {**arguments, **({"params": as_sent(url)} if spread and url else url)}


def as_sent(url: Arguments) -> Arguments:
    """URL arguments as text, which opensearch-py does not make of what is in ``params``."""
    texts = {n: ",".join(v) if isinstance(v, list) else v for n, v in url.items()}
    return {n: str(v).lower() if isinstance(v, bool) else v for n, v in texts.items()}


MATCH = {"match": {"text": "honey"}}
# Queries whose score is more than relevance, in a way that cannot be kept in force.
composed: tuple[Any, ...] = (
    {"function_score": {"query": MATCH, "weight": 2, "boost_mode": "replace"}},
    {"function_score": {"query": MATCH, "random_score": {}}},
    {"function_score": {"query": MATCH, "script_score": {"script": {"source": "_score"}}}},
    {"script_score": {"query": MATCH, "script": {"source": "doc['year'].value"}}},
    {"bool": {"must": [MATCH, {"function_score": {"query": MATCH, "weight": 3}}]}},
    {"dis_max": {"queries": [MATCH, {"term": {"lang": {"value": "fr", "boost": 5}}}]}},
    {"distance_feature": {"field": "date", "origin": "2024-01-09", "pivot": "7d"}},
    {"more_like_this": {"like": [{"_id": "3"}], "min_term_freq": 1, "min_doc_freq": 1}},
)
rescores = st.builds(
    lambda window, text: {
        "rescore": 2
        * [{"window_size": window, "query": {"rescore_query": {"match": {"text": text}}}}]
    },
    st.sampled_from((3, 30, 100)),
    texts,
)
# One of these, and a search is passed through.
obstacles = st.one_of(
    rescores.map(lambda part: {"body": part}),
    st.sampled_from(composed).map(lambda query: {"body": {"query": query}}),
    st.sampled_from(
        (
            {"indices_boost": [{"*-2": 2.0}]},
            {"sort": "year"},
            {"sort": [{"_score": "asc"}]},
            {"sort": ["_score", {"lang": "asc"}]},
            {"size": 0},
            {"stored_fields": "_none_"},
            {"sort": [{"year": "asc"}, {"meta.n": "asc"}], "search_after": [2001, 3]},
        )
    ).map(lambda part: {"body": part}),
    st.sampled_from(
        (
            {"scroll": "1m"},
            {"filter_path": "hits.hits._id"},
            {"filter_path": "hits.total"},
            {"filter_path": "-hits.hits._score"},
            {"format": "yaml"},
            {"sort": "year:desc"},
        )
    ).map(lambda part: {"url": part}),
)
plain = st.builds(lambda *parts: merged(*parts), single, on_all)


@st.composite
def passed(draw: st.DrawFn) -> Arguments:
    """The arguments of a search that is not to be reranked."""
    body = draw(plain)
    part: Any = draw(obstacles)
    merged_body = {**body, **part.get("body", {})}
    return {"index": draw(st.integers(0, 5)), "body": merged_body, **part.get("url", {})}
