"""The rows of docs/drop_in.md, each a call on a real node."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from opensearchpy.exceptions import OpenSearchException

from tests.dropin.opensearch.world import World
from vecdb_rerank import ConfigurationError, Policy, TextFields, observe
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.testing import ReversingReranker
from vecdb_rerank_opensearch import RerankingOpenSearch

DOCS = Path(__file__).parents[3] / "docs" / "drop_in.md"
MATCH = {"match": {"text": "bees"}}
KNN = {"knn": {"dense": {"vector": [0.5, 0.5, 0.5, 0.5], "k": 5}}}
RRF = {"score-ranker-processor": {"combination": {"technique": "rrf"}}}
HYBRID = {
    "query": {"hybrid": {"queries": [MATCH, KNN]}},
    "search_pipeline": {"phase_results_processors": [RRF]},
}
TWO = {"bool": {"should": [MATCH, {"match": {"title": "honey"}}]}}
RERANKED, PASSED, REFUSED = "reranked", "passed through", "refused"
NEAR = {"field": "date", "origin": "2024-01-09", "pivot": "7d"}
EXACT = {
    "lang": "knn",
    "source": "knn_score",
    "params": {
        "field": "dense",
        "query_value": [0.5, 0.5, 0.5, 0.5],
        "space_type": "cosinesimil",
    },
}
RESCORE = {"window_size": 12, "query": {"rescore_query": {"match": {"text": "hive"}}}}
AGGS = {"years": {"terms": {"field": "year"}}}


def m(**body: Any) -> dict[str, Any]:
    return {"body": {"query": MATCH, **body}}


def q(query: Any) -> dict[str, Any]:
    return {"body": {"query": query}}


def ext(**context: Any) -> dict[str, Any]:
    return {"body": {"query": KNN, "ext": {"rerank": {"query_context": context}}}}


# Row of the table: what becomes of the call, its arguments, and the reason in its outcome.
SEARCH: dict[str, tuple[str, Any, str]] = {
    "`match`, `match_phrase`, …": (RERANKED, m(), ""),
    "`multi_match`": (
        RERANKED,
        {"body": {"query": {"multi_match": {"query": "bees", "fields": ["title", "text"]}}}},
        "",
    ),
    "`query_string`, `simple_query_string`": (
        RERANKED,
        {"body": {"query": {"query_string": {"query": "bees"}}}},
        "",
    ),
    "`combined_fields`, `intervals`, `more_like_this` a text": (
        RERANKED,
        {"body": {"query": {"intervals": {"text": {"match": {"query": "bees"}}}}}},
        "",
    ),
    "`bool`, `dis_max`, `nested`, … around them": (
        RERANKED,
        {"body": {"query": {"bool": {"must": MATCH, "filter": {"term": {"lang": "en"}}}}}},
        "",
    ),
    "`hybrid`": (RERANKED, {"body": HYBRID}, "knn keeps its k of 5"),
    "`hybrid`, a later page without `pagination_depth`": (
        PASSED,
        {"body": {**HYBRID, "from": 3}},
        "hybrid: ",
    ),
    "`knn` and a `rerank_query`": (
        RERANKED,
        {"body": {"query": KNN}, "rerank_query": "bees", "index": 1},
        "",
    ),
    "`knn` over several shards, or beside other clauses": (
        RERANKED,
        {"body": {"query": KNN}, "rerank_query": "bees"},
        "knn keeps its k of 5",
    ),
    "`ext.rerank.query_context.query_text`": (RERANKED, ext(query_text="bees"), ""),
    "`ext.rerank.query_context.query_text_path`": (
        RERANKED,
        {"body": {**ext(query_text_path="query.match.text.query")["body"], "query": MATCH}},
        "",
    ),
    "`q`": (RERANKED, {"q": "text:bees"}, ""),
    "no text (`knn`, `match_all`)": (PASSED, {"body": {"query": KNN}}, "no query: "),
    "several texts": (PASSED, {"body": {"query": TWO}}, "no query: the request holds several"),
    'no text, `on_missing_query="raise"`': (REFUSED, {"body": {"query": KNN}}, "rerank_query: "),
    "`rerank=False`": (PASSED, {**m(), "rerank": False}, "rerank=False"),
    "`rerank=Policy(…)`": (RERANKED, {**m(), "rerank": Policy(blend=Blend("replace"))}, ""),
    "`from`, `size`, in the body or as parameters": (
        RERANKED,
        {**m(size=50), "size": 7, "from_": 3},
        "",
    ),
    "a page past the window": (PASSED, m(**{"from": 30}), "the page lies past the 20 hits"),
    "`size` 0": (PASSED, m(size=0), "size: 0"),
    "`sort` by `_score`": (RERANKED, m(sort=["_score"]), ""),
    "`sort` by anything else": (PASSED, m(sort=[{"year": "asc"}, "_score"]), "sort: "),
    "`search_after`": (PASSED, m(search_after=[2001], sort="year"), "search_after: "),
    "`scroll`": (PASSED, {**m(), "scroll": "1m"}, "scroll: "),
    "`rescore` by a query, inside its `window_size`, on one shard": (
        RERANKED,
        {**m(rescore=RESCORE), "index": 1},
        "",
    ),
    "`rescore` over several shards, or past its `window_size`": (
        PASSED,
        m(size=15, rescore=RESCORE),
        "rescore: ",
    ),
    "`rescore`, several, or with a script": (PASSED, m(rescore=[RESCORE, RESCORE]), "rescore: "),
    "`function_score`, `boosting`": (
        RERANKED,
        q({"function_score": {"query": MATCH, "field_value_factor": {"field": "year"}}}),
        "",
    ),
    '`function_score` with `boost_mode: "replace"`, `random_score` or a script; `script_score`': (
        PASSED,
        q({"function_score": {"query": MATCH, "random_score": {}}}),
        "function_score: ",
    ),
    "`rank_feature`, `distance_feature` beside a text": (
        RERANKED,
        q({"bool": {"must": MATCH, "should": {"distance_feature": NEAR}}}),
        "",
    ),
    "`term`, `ids`, `range`, `constant_score`, … in `should`": (
        RERANKED,
        q({"bool": {"must": MATCH, "should": {"ids": {"values": ["7"], "boost": 100}}}}),
        "",
    ),
    "a composed score beside another text, in `dis_max`, `nested` or `hybrid`": (
        PASSED,
        q({"dis_max": {"queries": [MATCH, {"ids": {"values": ["7"]}}]}}),
        "ids: ",
    ),
    "`pinned`, `percolate`; `rank_feature`, `distance_feature` alone": (
        PASSED,
        q({"distance_feature": NEAR}),
        "distance_feature: ",
    ),
    "`more_like_this` a document": (
        PASSED,
        q({"more_like_this": {"like": [{"_id": "3"}], "min_doc_freq": 1}}),
        "more_like_this: ",
    ),
    "`script_score` of a vector's similarity": (
        RERANKED,
        {**q({"script_score": {"query": MATCH, "script": EXACT}}), "rerank_query": "bees"},
        "",
    ),
    "`indices_boost`": (PASSED, m(indices_boost=[{"*-1": 2.0}]), "indices_boost: "),
    "`collapse`, with `inner_hits`": (
        RERANKED,
        m(collapse={"field": "lang", "inner_hits": {"name": "more", "size": 2}}),
        "",
    ),
    "`aggs`": (RERANKED, m(aggs=AGGS), ""),
    "`aggs`, `collapse`, `post_filter`, `terminate_after` over `knn`": (
        RERANKED,
        {"body": {"query": KNN, "aggs": AGGS}, "rerank_query": "bees", "index": 1},
        "knn keeps its k of 5",
    ),
    "`suggest`": (RERANKED, m(suggest={"s": {"text": "hony", "term": {"field": "text"}}}), ""),
    "`highlight`": (RERANKED, m(highlight={"fields": {"text": {}}}), ""),
    "`explain`, `profile`": (RERANKED, m(explain=True, profile=True), ""),
    "`min_score`, `post_filter`": (
        RERANKED,
        m(min_score=0.001, post_filter={"term": {"lang": "en"}}),
        "",
    ),
    "`track_total_hits`, `rest_total_hits_as_int`": (
        RERANKED,
        {**m(track_total_hits=True), "rest_total_hits_as_int": True},
        "",
    ),
    "`version`, `seq_no_primary_term`": (RERANKED, m(version=True, seq_no_primary_term=True), ""),
    "`_source`": (RERANKED, m(_source={"includes": ["tags.a"], "excludes": ["meta.*"]}), ""),
    "`_source`, `_source_includes`, `_source_excludes` as parameters": (
        RERANKED,
        {**m(), "_source_includes": "year"},
        "",
    ),
    "`fields`, `docvalue_fields`, `stored_fields`, `script_fields`": (
        RERANKED,
        m(fields=["year"], docvalue_fields=["lang"], stored_fields=["lang"]),
        "",
    ),
    "`docvalue_fields` of a part of the text that `_source` leaves out": (
        PASSED,
        m(_source=False, docvalue_fields=["title.raw"]),
        "docvalue_fields: title.raw",
    ),
    "`script_fields` named like the text": (
        PASSED,
        m(script_fields={"text": {"script": {"source": "1"}}}),
        "script_fields: text",
    ),
    "`stored_fields` with a pattern that the text matches": (
        PASSED,
        m(stored_fields=["te*"]),
        "stored_fields: te*",
    ),
    "`stored_fields` `_none_`": (PASSED, m(stored_fields="_none_"), "stored_fields: "),
    "`filter_path` that shows ids, scores and text": (
        RERANKED,
        {**m(), "filter_path": "hits.hits._id,hits.hits._score,hits.hits._source"},
        "",
    ),
    "`filter_path` that hides one of them": (
        PASSED,
        {**m(), "filter_path": "hits.hits._source"},
        "filter_path: hides hits.hits._id",
    ),
    "`format` other than JSON": (PASSED, {**m(), "format": "smile"}, "format: "),
    "`routing`, `preference`, `search_type`": (
        RERANKED,
        {**m(), "preference": "_local", "search_type": "dfs_query_then_fetch"},
        "",
    ),
    "`timeout`, `request_timeout`, `terminate_after`": (
        RERANKED,
        {**m(timeout="5s", terminate_after=15), "request_timeout": 20},
        "",
    ),
    "a body as JSON text or bytes": (RERANKED, {"body": json.dumps(m()["body"]).encode()}, ""),
    "a body that is not a JSON object": (PASSED, {"body": "[]"}, "body: "),
    "headers, `params`": (
        RERANKED,
        {**m(), "params": {"size": 3}, "headers": {"x-opaque-id": "7"}},
        "",
    ),
    "hits without the text that `TextFields` names": (PASSED, m(min_score=0.0), "no hit has text"),
}
# What the raw client cannot read, or OpenSearch refuses.
NO_ANSWER = (
    "`format` other than JSON",
    "a body that is not a JSON object",
    "`hybrid`, a later page without `pagination_depth`",
)
NO_TEXT = "hits without the text that `TextFields` names"


def wrapped(world: World, **options: Any) -> Any:
    policy = Policy(deadline=None, breaker=None, blend=Blend("replace"))
    return RerankingOpenSearch(world.client, ReversingReranker(), policy=policy, k=20, **options)


@pytest.mark.parametrize("row", SEARCH)
def test_search(world: World, row: str) -> None:
    becomes, arguments, reason = SEARCH[row]
    text_fields = TextFields(("nothing",)) if row == NO_TEXT else TextFields()
    options: Any = {"on_missing_query": "raise"} if becomes == REFUSED else {}
    client = wrapped(world, text_fields=text_fields, **options)
    call = {**arguments, "index": world.targets[arguments.get("index", 0)]}
    if becomes == REFUSED:
        with world.watched() as log, pytest.raises(ConfigurationError, match=reason):
            client.search(**call)
        assert not log
        return
    with world.watched() as log, observe() as outcomes:
        try:
            response = client.search(**call)
        except OpenSearchException as error:
            assert row in NO_ANSWER
            assert error
            return
    (outcome,), sent = outcomes, log[-1]
    assert outcome.status == ("reranked" if becomes == RERANKED else "skipped"), outcome.reason
    assert str(outcome.reason or outcome.notes.get("own_depth", "")).startswith(reason)
    recorded = sent.response
    assert list(response) == list(recorded)
    if becomes == PASSED and row != NO_TEXT:
        assert response == recorded
    else:
        assert 0 < len(response["hits"]["hits"]) <= len(recorded["hits"]["hits"])


@pytest.mark.parametrize("target", range(6))
def test_indices(world: World, target: int) -> None:
    """One, several, a pattern, an alias; equal ids of two indices are two hits."""
    client = wrapped(world)
    with observe() as outcomes:
        response = client.search(index=world.targets[target], **m(size=20))
    found = [(hit["_index"], hit["_id"]) for hit in response["hits"]["hits"]]
    assert len(set(found)) == len(found) == 20
    assert len(outcomes[0].relevance) == outcomes[0].scored
    assert all(key in world.documents for key in found)


def test_pit(world: World) -> None:
    client = wrapped(world)
    pit = client.create_pit(index=world.targets[0], keep_alive="1m")["pit_id"]
    with observe() as outcomes:
        response = client.search(**m(pit={"id": pit, "keep_alive": "1m"}))
    assert response["hits"]["hits"]
    assert outcomes[0].reason == "pit: the database owns the order"
    client.delete_pit(body={"pit_id": [pit]})


def test_every_row_of_the_documentation_is_tested() -> None:
    section = DOCS.read_text().partition("| `search`: field |")[2].partition("| other calls")[0]
    rows = re.findall(r"^\| (.+?) \| (reranked|passed through|refused)", section, re.MULTILINE)
    assert dict(rows) == {row: becomes for row, (becomes, _, _) in SEARCH.items()}
