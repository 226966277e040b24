"""What is asked of OpenSearch and what is made of its answers: pure functions, no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    NotFoundError,
    RequestError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as Unreachable

from vecdb_rerank.errors import ConfigurationError, FirstPassError
from vecdb_rerank.ingest.model import Cause, Document
from vecdb_rerank.model import BranchHit, RankedHit, Ranking
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.ranking.ordering import unchanged
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import OpenSearchConnector, errors, queries, responses
from vecdb_rerank_opensearch.errors import SearchFailed
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout
from vecdb_rerank_opensearch.responses import unflatten
from vecdb_rerank_opensearch.schema import index_body, misfits
from vecdb_rerank_opensearch.source_selection import Forced, Projection, project
from vecdb_rerank_opensearch.writer import OpenSearchWriter

LAYOUT = Layout("docs")
VECTOR = [0.6, 0.8]
FILTER = {"term": {"lang": "en"}}
MATCH = {"match": {BM25_TEXT: "q"}}
PATHS = ("title", "meta.summary")


def searching(**changes: Any) -> Search:
    plain = Search("q", k=20, limit=5, offset=3, mode="hybrid", depth=30, fusion=Fusion())
    return replace(plain, **changes)


def asked(layout: Layout = LAYOUT, **changes: Any) -> dict[str, Any]:
    return queries.body(searching(**changes), VECTOR, layout, {})


def branches_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    queries: list[dict[str, Any]] = body["query"]["hybrid"]["queries"]
    return queries


# -- requests


def test_a_hybrid_search_goes_to_its_depth_in_each_branch() -> None:
    body = asked()
    assert body["size"] == 20
    assert body["query"]["hybrid"]["pagination_depth"] == 30
    assert branches_of(body) == [MATCH, {"knn": {"dense": {"vector": VECTOR, "k": 30}}}]
    assert "from" not in body


@pytest.mark.parametrize(("limit", "offset"), [(1, 0), (20, 0), (5, 15)])
def test_the_body_is_the_same_for_every_page(limit: int, offset: int) -> None:
    assert asked(limit=limit, offset=offset) == asked()


def test_single_branches_are_plain_queries_k_hits_deep() -> None:
    assert asked(mode="bm25") == {"size": 20, "query": MATCH}
    knn = {"knn": {"dense": {"vector": VECTOR, "k": 20}}}
    assert asked(mode="dense") == {"size": 20, "query": knn}


def test_the_callers_part_of_the_body_is_kept_and_ours_decides() -> None:
    shape = {"track_total_hits": True, "aggs": {"a": {}}, "size": 1}
    body = queries.body(searching(), VECTOR, LAYOUT, shape)
    assert (body["track_total_hits"], body["aggs"], body["size"]) == (True, {"a": {}}, 20)
    assert shape["size"] == 1


def test_the_filter_is_inside_each_branch() -> None:
    bm25, dense = branches_of(asked(filter=FILTER))
    assert bm25 == {"bool": {"must": [MATCH], "filter": FILTER}}
    assert dense["knn"]["dense"]["filter"] == FILTER


def test_a_list_of_filters_means_all_of_them() -> None:
    several = [FILTER, {"range": {"year": {"gte": 2000}}}]
    bm25, dense = branches_of(asked(filter=several))
    assert bm25["bool"]["filter"] == several
    assert dense["knn"]["dense"]["filter"] == {"bool": {"filter": several}}


@pytest.mark.parametrize("fields", [("title", "text"), ("title^2",), ("title^2", "text")])
def test_several_or_boosted_fields_are_a_multi_match(fields: tuple[str, ...]) -> None:
    bm25, _ = branches_of(asked(Layout("docs", "dense", fields)))
    assert bm25 == {"multi_match": {"query": "q", "fields": list(fields)}}


def test_a_query_of_more_words_than_lucene_takes_is_cut() -> None:
    long = "word " * 5000
    for fields in (("text",), ("title^2", "text")):
        bm25, _ = branches_of(asked(Layout("docs", "dense", fields), query=long))
        text = bm25["match"]["text"] if len(fields) == 1 else bm25["multi_match"]["query"]
        assert 100 < len(text.split()) * len(fields) <= 1024


def test_a_branch_alone_is_as_deep_as_in_the_hybrid_query() -> None:
    shape = {"_source": False}
    body = queries.branch_body("bm25", searching(), VECTOR, LAYOUT, shape)
    assert body == {"_source": False, "size": 30, "query": MATCH}


def test_rank_constant_is_where_the_server_reads_it() -> None:
    (processor,) = queries.pipeline(Fusion(rank_constant=7))["phase_results_processors"]
    assert processor == {
        "score-ranker-processor": {
            "combination": {"technique": "rrf", "parameters": {"rank_constant": 7}}
        }
    }


@pytest.mark.parametrize("method", ["min_max", "l2"])
def test_weights_of_a_normalization_sum_to_one(method: Any) -> None:
    fusion = Fusion(method, weights=(1, 3))
    (processor,) = queries.pipeline(fusion)["phase_results_processors"]
    assert processor == {
        "normalization-processor": {
            "normalization": {"technique": method},
            "combination": {
                "technique": "arithmetic_mean",
                "parameters": {"weights": [0.25, 0.75]},
            },
        }
    }


def test_the_pipeline_travels_inside_the_body() -> None:
    assert asked()["search_pipeline"] == queries.pipeline(Fusion())
    assert "search_pipeline" not in asked(mode="bm25")


@pytest.mark.parametrize(
    ("fusion", "by_database"),
    [
        (Fusion(), True),
        (Fusion("min_max", weights=(1, 2)), True),
        (Fusion("l2"), True),
        (Fusion(weights=(1, 2)), False),  # the server's RRF takes no weights
    ],
)
def test_only_fusions_that_the_server_has_are_left_to_it(fusion: Fusion, by_database: bool) -> None:
    assert queries.fused_by_database(fusion) is by_database


def test_a_fusion_of_another_database_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^fusion\.method: "):
        queries.fused_by_database(Fusion("dbsf"))


def test_an_msearch_has_a_header_before_each_body() -> None:
    lines = queries.msearch(LAYOUT, {"routing": "a"}, [{"size": 1}, {"size": 2}])
    header = {"index": "docs", "routing": "a"}
    assert lines == [header, {"size": 1}, header, {"size": 2}]


@pytest.mark.parametrize(
    "name", ["query", "size", "from", "search_pipeline", "sort", "search_after", "pit"]
)
def test_a_body_that_decides_what_the_search_decides_is_refused_by_name(name: str) -> None:
    connector = OpenSearchConnector(OpenSearch("http://h:1"), "docs", reranker=None, embedder=None)
    with pytest.raises(ConfigurationError, match=rf"^body: '{name}'"):
        connector.search("q", body={name: 1})


# -- projections


def test_by_default_the_source_comes_without_what_only_the_index_needs() -> None:
    assert project({}, PATHS, LAYOUT) == Projection({"_source": {"excludes": ["dense", BM25_TEXT]}})


def test_the_whole_source_is_left_whole() -> None:
    assert project({"_source": True}, PATHS, LAYOUT) == Projection({})


@pytest.mark.parametrize("source", [False, ["lang"], {"includes": ["lang"]}, "lang"])
def test_a_narrowed_source_is_left_alone_and_the_text_asked_for_beside_it(source: Any) -> None:
    projection = project({"_source": source, "fields": ["date"]}, PATHS, LAYOUT)
    assert list(projection.parts) == ["fields"]
    *wanted, last = projection.parts["fields"]
    assert {"title", "title.*", "meta", "meta.summary", "meta.summary.*"} == set(wanted)
    assert last == "date"
    assert projection.injected_fields == Forced((*PATHS, "meta"), ("date",))


@pytest.mark.parametrize("field", ["title", "ti*", "*", {"field": "title", "format": "x"}])
def test_a_field_that_the_caller_asked_for_is_not_taken_out(field: Any) -> None:
    projection = project({"_source": False, "fields": [field]}, ("title",), LAYOUT)
    assert projection == Projection({})


@pytest.mark.parametrize(
    "asked",
    [
        {"fields": ["title.raw"]},
        {"fields": [{"field": "title.r*"}]},
        {"docvalue_fields": ["title.raw"]},
        {"docvalue_fields": [{"field": "title.raw", "format": "x"}]},
        {"stored_fields": ["title.raw"]},
        {"stored_fields": "title.raw"},
        {"script_fields": {"title.raw": {"script": "1"}}},
    ],
    ids=repr,
)
def test_a_part_of_the_text_that_the_caller_asked_for_is_not_taken_out(asked: Any) -> None:
    injected_fields = project({"_source": False, **asked}, ("title",), LAYOUT).injected_fields
    assert "title" in injected_fields
    assert "title.keyword" in injected_fields
    assert "title.raw" not in injected_fields
    assert "titles" not in injected_fields


# -- responses


def hit(hit_id: str, score: float | None, **rest: Any) -> dict[str, Any]:
    return {"_index": "docs", "_id": hit_id, "_score": score, **rest}


def answer(*hits: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {
        "took": 3,
        "timed_out": False,
        "_shards": {"total": 1},
        "hits": {"total": {"value": 99}, "max_score": 1.0, "hits": list(hits)},
        **rest,
    }


def texts(*hits: dict[str, Any], **first: Any) -> list[str]:
    found = responses.candidates(FirstPass(answer(*hits), **first), TextFields(PATHS))
    return [candidate.text for candidate in found]


def test_hits_become_candidates_in_their_order() -> None:
    bm25, dense = answer(hit("b", 9.0), hit("a", 8.0)), answer(hit("a", 0.9))
    first = FirstPass(
        answer(hit("a", 0.9, _source={"title": "A", "x": 1}), hit("b", None)),
        evidence=responses.evidence({"bm25": bm25, "dense": dense}),
    )
    one, two = responses.candidates(first, TextFields(PATHS))
    assert (one.position, one.id, one.text, one.score) == (0, "a", "A", 0.9)
    assert one.payload == {"title": "A", "x": 1}
    assert one.branches == {"bm25": BranchHit(2, 8.0), "dense": BranchHit(1, 0.9)}
    assert (two.position, two.id, two.text, two.score) == (1, "b", "", 0.0)
    assert two.branches == {"bm25": BranchHit(1, 9.0)}


def test_the_text_is_in_the_source_though_other_fields_were_asked_for() -> None:
    found = texts(hit("a", 1.0, _source={"title": "A"}, fields={"year": [2024]}))
    assert found == ["A"]


def test_the_text_comes_from_the_fields_where_the_source_is_narrowed() -> None:
    fields = {"title": ["A"], "meta.summary": ["S"]}
    assert texts(hit("a", 1.0, fields=fields), injected_fields=Forced(PATHS)) == ["A\nS"]
    narrowed = hit("a", 1.0, _source={"meta": {"year": 2024}}, fields=fields)
    assert texts(narrowed, injected_fields=Forced(PATHS)) == ["A\nS"]


def test_the_same_id_in_two_indices_is_two_hits() -> None:
    bm25 = answer(hit("a", 9.0), {**hit("a", 8.0), "_index": "other"})
    fused = responses.fuse({"bm25": bm25, "dense": answer(hit("a", 0.9))}, Fusion(), k=5)
    assert [(h["_index"], h["_id"]) for h in fused["hits"]["hits"]] == [
        ("docs", "a"),
        ("other", "a"),
    ]


def test_hits_of_the_same_id_are_called_alike_in_any_order() -> None:
    """Else equal scores are ordered, and outcomes keyed, differently from call to call."""
    same = [{**hit("a", 1.0), "_index": name} for name in ("one", "other", "third")]
    for hits in (same, same[::-1]):
        first = FirstPass(answer(*hits, hit("b", 1.0)))
        found = responses.candidates(first, TextFields(PATHS))
        assert [c.id for c in found] == [*(f"{h['_index']}/a" for h in hits), "b"]
    for one in same:  # as `filter_path` may leave them
        del one["_index"]
    assert len(set(responses.ids(same))) == 3


def test_rebuilding_keeps_every_other_key() -> None:
    rich = hit("a", 0.9, _source={"title": "A"}, highlight={"title": ["<em>A</em>"]}, sort=[1])
    rich |= {"_version": 2, "inner_hits": {}, "fields": {"year": [2024]}}
    response = answer(
        rich, hit("b", 0.8), hit("c", 0.7), aggregations={"x": {}}, suggest={}, pit_id="p"
    )
    first = FirstPass(response)
    a, b, _ = responses.candidates(first, TextFields(PATHS))
    ranking = Ranking.of([RankedHit(b, 0.99, 4.6, 0.99), RankedHit(a, 0.5, 0.0, 0.5)])
    rebuilt = responses.rebuild(first, ranking)
    assert rebuilt["hits"]["hits"] == [hit("b", 0.99), {**rich, "_score": 0.5}]
    assert rebuilt["hits"]["max_score"] == 0.99
    assert rebuilt["hits"]["total"] == {"value": 99}
    assert {k: v for k, v in rebuilt.items() if k != "hits"} == {
        k: v for k, v in response.items() if k != "hits"
    }
    assert list(rebuilt) == list(response)
    assert rich["_score"] == 0.9  # the first pass itself is not changed


def test_a_later_page_keeps_the_best_score_of_all() -> None:
    first = FirstPass(answer(hit("a", 0.9), hit("b", 0.8)))
    found = responses.candidates(first, TextFields(PATHS))
    page = responses.rebuild(first, unchanged(found).page(1, 1))
    assert [h["_id"] for h in page["hits"]["hits"]] == ["b"]
    assert page["hits"]["max_score"] == 0.9


def test_without_hits_there_is_no_best_score() -> None:
    rebuilt = responses.rebuild(FirstPass(answer()), unchanged([]))
    assert rebuilt["hits"] == {"total": {"value": 99}, "max_score": None, "hits": []}


@pytest.mark.parametrize("total", [None, 7, {"value": 7, "relation": "eq"}])
def test_the_total_may_be_anything_or_absent(total: Any) -> None:
    response = answer(hit("a", 0.9))
    del response["hits"]["total"]
    if total is not None:
        response["hits"]["total"] = total
    first = FirstPass(response)
    rebuilt = responses.rebuild(first, unchanged(responses.candidates(first, TextFields(PATHS))))
    assert rebuilt["hits"].get("total") == total


def test_forced_fields_are_taken_out_again_and_asked_for_ones_kept() -> None:
    fields = {"title": ["A"], "title.raw": ["A"], "meta.summary": ["S"], "year": [2024]}
    assert rebuilt_hit(hit("a", 1.0, fields=fields)) == hit("a", 1.0, fields={"year": [2024]})
    alone = hit("a", 1.0, fields={"title": ["A"]})
    assert rebuilt_hit(alone) == hit("a", 1.0)  # `fields` came only for the text
    assert rebuilt_hit(hit("a", 1.0)) == hit("a", 1.0)


def rebuilt_hit(given: dict[str, Any]) -> dict[str, Any]:
    first = FirstPass(answer(given), injected_fields=Forced(PATHS))
    ranking = unchanged(responses.candidates(first, TextFields(PATHS)))
    rebuilt: dict[str, Any] = responses.rebuild(first, ranking)["hits"]["hits"][0]
    return rebuilt


def test_branches_are_fused_here_where_the_server_cannot() -> None:
    bm25 = answer(hit("a", 9.0, _source={"x": 1}), hit("b", 5.0), hit("c", 1.0), aggregations={})
    dense = answer(hit("b", 0.9), hit("d", 0.1))
    fused = responses.fuse({"bm25": bm25, "dense": dense}, Fusion("min_max"), k=3)
    assert [(h["_id"], h["_score"]) for h in fused["hits"]["hits"]] == [
        ("b", 0.75),
        ("a", 0.5),
        ("c", 0.0),
    ]
    assert fused["hits"]["max_score"] == 0.75
    assert fused["hits"]["hits"][1]["_source"] == {"x": 1}
    assert fused["aggregations"] == {}
    assert (
        responses.fuse({"bm25": answer(), "dense": answer()}, Fusion(), k=3)["hits"]["max_score"]
        is None
    )


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        ({"title": ["A"]}, {"title": "A"}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b"]}),
        ({"a.b.c": [1], "a.d": [2]}, {"a": {"b": {"c": 1}, "d": 2}}),
        ({"text": ["A"], "text.keyword": ["A"]}, {"text": "A"}),
        ({"text.keyword": ["A"], "text": ["A"]}, {"text": "A"}),
        ({"title": []}, {"title": []}),
        ({}, {}),
    ],
)
def test_fields_are_nested_again(fields: dict[str, Any], payload: dict[str, Any]) -> None:
    assert unflatten(fields) == payload


# -- writing


def test_a_document_becomes_an_action_with_its_vector_and_bm25_text() -> None:
    writer = OpenSearchWriter(OpenSearch(), LAYOUT, str)
    action = writer.item(Document(7, {"title": "A"}), "A text", (0.6, 0.8))
    assert action.id == "7"
    assert action.source == {"title": "A", BM25_TEXT: "A text", "dense": [0.6, 0.8]}


@pytest.mark.parametrize(
    ("document", "vector", "why"),
    [
        (Document(1, {}), None, "no vector"),
        (Document(1, {"dense": [1]}), VECTOR, "'dense'"),
        (Document(1, {BM25_TEXT: "x"}), VECTOR, BM25_TEXT),
        (Document("é" * 300, {}), VECTOR, "512 bytes"),
        (Document("\ud800", {}), VECTOR, "surrogates"),
    ],
)
def test_documents_that_cannot_be_stored_are_told_apart(
    document: Document, vector: list[float] | None, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        OpenSearchWriter(OpenSearch(), LAYOUT, str).item(document, "", vector)


def test_a_new_index_fits_and_others_are_told_apart() -> None:
    fresh = {"docs": index_body(LAYOUT, 2)}
    assert misfits(fresh, LAYOUT, 2) == []
    assert "2 dimensions, the embedder makes 3" in misfits(fresh, LAYOUT, 3)[0].detail
    assert (
        "no knn_vector field 'other'"
        in misfits(fresh, replace(LAYOUT, dense_vector="other"), 2)[0].detail
    )
    missing = replace(LAYOUT, bm25_fields=("title^2",))
    assert "no text field 'title'" in misfits(fresh, missing, 2)[0].detail
    assert misfits({"empty": {"mappings": {}}}, LAYOUT, 2) != []


# -- errors


def refused(status: int, reason: str, kind: type[TransportError] = RequestError) -> TransportError:
    cause = {"type": "some_exception", "reason": reason}
    return kind(status, "some_exception", {"error": {**cause, "root_cause": [cause]}})


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (refused(400, "failed to\nparse query"), "refused the request: failed to parse query"),
        (refused(400, "unknown query [knn]"), "the k-NN plugin (opensearch-knn) is not installed"),
        (refused(404, "no such index [docs]", NotFoundError), "no such index [docs]"),
        (AuthenticationException(401, "Unauthorized", "Unauthorized"), "backend.password"),
        (AuthorizationException(403, "security_exception", {}), "permission"),
        (Unreachable("N/A", "Connection refused", OSError("refused")), "is the URL right?"),
        (ConnectionTimeout("TIMEOUT", "Read timed out", OSError("late")), "answer in time"),
        (TimeoutError(), "did not answer in time"),
        (TransportError(502, "<html>\n<b>Bad Gateway</b>", "<html>"), "<html> <b>Bad Gateway</b>"),
        (SearchFailed(400, {"type": "t", "reason": "bad sort"}), "refused the request: bad sort"),
    ],
)
def test_errors_are_one_line_with_the_fix(error: Exception, fragment: str) -> None:
    line = errors.describe(error, "http://here:9200")
    assert line.startswith("OpenSearch at http://here:9200")
    assert fragment in line
    assert "\n" not in line


def test_a_long_error_is_cut() -> None:
    assert len(errors.describe(refused(400, "x" * 100_000), "here")) < 400


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (refused(429, "busy", TransportError), "transient"),
        (refused(503, "starting", TransportError), "transient"),
        (Unreachable("N/A", "refused", OSError("refused")), "transient"),
        (ConnectionTimeout("TIMEOUT", "late", OSError("late")), "timeout"),
        (TimeoutError(), "timeout"),
        (refused(400, "bad"), "document"),
        (refused(413, "too large", TransportError), "too_large"),
        (AuthenticationException(401, "Unauthorized", "no"), "fatal"),
        (refused(404, "no such index", NotFoundError), "fatal"),
        (RuntimeError("bug"), "fatal"),
    ],
)
def test_whose_fault_a_failed_write_is(error: Exception, cause: Cause) -> None:
    assert errors.cause(error) == cause


def test_a_missing_neural_search_plugin_is_known_by_its_error() -> None:
    assert errors.cannot_fuse(refused(400, "unknown query [hybrid]"))
    assert errors.cannot_fuse(refused(400, "Invalid processor type score-ranker-processor"))
    assert errors.cannot_fuse(refused(400, "Field is not supported by [hybrid] query"))
    assert errors.cannot_fuse(SearchFailed(400, {"reason": "unknown query [hybrid]"}))
    assert not errors.cannot_fuse(refused(400, "something else"))
    assert not errors.cannot_fuse(RuntimeError("unknown query [hybrid]"))


def test_responses_of_an_msearch_look_like_single_ones() -> None:
    both = {"responses": [{**answer(hit("a", 1.0)), "status": 200}, {**answer(), "status": 200}]}
    assert errors.responses(both, 2) == [answer(hit("a", 1.0)), answer()]


def test_a_failed_search_of_an_msearch_is_an_error() -> None:
    failed = {"error": {"type": "t", "root_cause": [{"reason": "shard lost"}]}, "status": 503}
    with pytest.raises(SearchFailed, match="shard lost") as error:
        errors.responses({"responses": [{**answer(), "status": 200}, failed]}, 2)
    assert error.value.status == 503


def test_passwords_are_in_no_error() -> None:
    # Nothing listens on port 1.
    client = OpenSearch("http://admin:hunter2@127.0.0.1:1", max_retries=0, timeout=5)
    connector = OpenSearchConnector(client, "docs", reranker=None, embedder=None, close_client=True)
    with pytest.raises(FirstPassError, match=r"OpenSearch at http://127\.0\.0\.1:1 ") as error:
        connector.search("q", query_vector=VECTOR)
    findings = connector.check()
    assert not findings[0].ok
    for text in (str(error.value), *map(repr, findings)):
        assert "hunter" not in text
    connector.close()


def found(total: Any, *hits: dict[str, Any], relation: str = "eq") -> dict[str, Any]:
    response = answer(*hits)
    response["hits"]["total"] = {"value": total, "relation": relation}
    return response


@pytest.mark.parametrize(
    ("bm25", "dense", "expected"),
    [
        # All that either found is here, so the union is known.
        (found(2, hit("a", 2.0), hit("b", 1.0)), found(1, hit("c", 0.9)), (3, "eq")),
        (found(2, hit("a", 2.0), hit("b", 1.0)), found(1, hit("a", 0.9)), (2, "eq")),
        (found(0), found(0), (0, "eq")),
        # It is no less than what is here, nor than what one found.
        (found(2, hit("a", 2.0)), found(2, hit("c", 0.9), hit("d", 0.8)), (3, "gte")),
        (found(70, hit("a", 2.0)), found(1, hit("c", 0.9)), (70, "gte")),
        (found(10_000, hit("a", 2.0), relation="gte"), found(1, hit("c", 0.9)), (10_000, "gte")),
        (found(1, hit("a", 2.0), relation="gte"), found(1, hit("c", 0.9)), (2, "gte")),
    ],
)
def test_the_total_of_what_is_fused_here_is_no_more_than_is_known(
    bm25: dict[str, Any], dense: dict[str, Any], expected: tuple[int, str]
) -> None:
    total = responses.fuse({"bm25": bm25, "dense": dense}, Fusion(), k=3)["hits"]["total"]
    assert (total["value"], total["relation"]) == expected


def test_there_is_no_total_where_none_was_asked_for() -> None:
    bm25, dense = answer(hit("a", 2.0)), answer(hit("b", 0.9))
    for response in (bm25, dense):
        del response["hits"]["total"]
    assert "total" not in responses.fuse({"bm25": bm25, "dense": dense}, Fusion(), k=3)["hits"]


def test_the_union_of_the_branches_counts_where_it_was_asked_for() -> None:
    branches = {"bm25": found(5, hit("a", 2.0)), "dense": found(4, hit("b", 0.9))}
    union = {**found(7), "aggregations": {"x": {"buckets": []}}}
    fused = responses.fuse(branches, Fusion(), 3, union)
    assert fused["hits"]["total"] == {"value": 7, "relation": "eq"}
    assert fused["aggregations"] == {"x": {"buckets": []}}
    assert [h["_id"] for h in fused["hits"]["hits"]] == ["a", "b"]
    assert responses.fuse(branches, Fusion(), 3, {**union, "timed_out": True})["timed_out"] is True


def test_a_branch_that_is_partial_makes_the_fused_response_partial() -> None:
    bm25, dense = answer(), answer(hit("a", 0.9), hit("b", 0.8), timed_out=True)
    dense["_shards"] = {"total": 2, "failed": 1}
    fused = responses.fuse({"bm25": bm25, "dense": dense}, Fusion(), k=3)
    assert fused["timed_out"] is True
    assert fused["_shards"]["failed"] == 1
