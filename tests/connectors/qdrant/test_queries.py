"""Requests to Qdrant and its responses: pure functions, no server."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import replace
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http import models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from vecdb_rerank.errors import ConfigurationError, FirstPassError
from vecdb_rerank.ingest.model import Cause, Document
from vecdb_rerank.model import DOC_ID, BranchHit
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.ranking.ordering import first_pass_order, unchanged
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import QdrantConnector, errors, queries, responses
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.queries import TIES
from vecdb_rerank_qdrant.schema import misfits
from vecdb_rerank_qdrant.writer import QdrantWriter, native_id

LAYOUT = Layout("docs")
VECTOR = [0.6, 0.8]
FILTER = models.Filter(
    must=[models.FieldCondition(key="lang", match=models.MatchValue(value="en"))]
)
TUNED = models.SearchParams(hnsw_ef=256)
encode = Bm25().query


def searching(**changes: Any) -> Search:
    plain = Search("q", k=20, limit=5, offset=3, mode="hybrid", depth=30, fusion=Fusion())
    return replace(plain, **changes)


def queried(**changes: Any) -> dict[str, Any]:
    return queries.query(searching(**changes), VECTOR, LAYOUT, encode)


# -- requests


def test_each_branch_of_a_hybrid_search_goes_to_the_searchs_depth() -> None:
    # A prefetch without a limit takes 10 hits, whatever the query around it wants.
    request = queried()
    assert [p.limit for p in request["prefetch"]] == [30, 30]
    assert request["limit"] == 20 + TIES
    assert "offset" not in request


def test_branches_use_their_own_vectors() -> None:
    bm25, dense = queried()["prefetch"]
    assert (bm25.using, bm25.query) == ("bm25", encode("q"))
    assert (dense.using, dense.query) == ("dense", VECTOR)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_a_filter_may_be_given_as_json(mode: str) -> None:
    plain = {"must": [{"key": "lang", "match": {"value": "en"}}]}
    assert queried(mode=mode, filter=plain) == queried(mode=mode, filter=FILTER)


def test_a_filter_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^filter: .*term"):
        queried(filter={"term": {"lang": "en"}})


@pytest.mark.parametrize(("limit", "offset"), [(1, 0), (20, 0), (5, 15)])
def test_the_request_is_the_same_for_every_page(limit: int, offset: int) -> None:
    assert queried(limit=limit, offset=offset) == queried()


@pytest.mark.parametrize("constant", [1, 60])
def test_ranks_start_at_zero_in_qdrant(constant: int) -> None:
    query = queried(fusion=Fusion(rank_constant=constant))["query"]
    assert query == models.RrfQuery(rrf=models.Rrf(k=constant + 1))


def test_dbsf_is_qdrants_own() -> None:
    query = queried(fusion=Fusion("dbsf"))["query"]
    assert query == models.FusionQuery(fusion=models.Fusion.DBSF)


@pytest.mark.parametrize(
    ("fusion", "by_database"),
    [
        (Fusion(), True),
        (Fusion("dbsf"), True),
        (Fusion(weights=(1, 2)), False),  # Qdrant's weighted RRF is another formula
        (Fusion("min_max"), False),
        (Fusion("l2"), False),
    ],
)
def test_only_fusions_that_qdrant_has_are_left_to_it(fusion: Fusion, by_database: bool) -> None:
    assert queries.fused_here(fusion, evidence=False) is not by_database


def test_the_filter_is_in_each_branch() -> None:
    request = queried(filter=FILTER)
    assert [p.filter for p in request["prefetch"]] == [FILTER, FILTER]


@pytest.mark.parametrize(("mode", "using"), [("bm25", "bm25"), ("dense", "dense")])
def test_a_single_branch_is_a_plain_query_k_hits_deep(mode: Any, using: str) -> None:
    request = queried(mode=mode, filter=FILTER)
    assert (request["using"], request["limit"]) == (using, 20)
    assert request["query_filter"] == FILTER
    assert "prefetch" not in request


def test_the_unnamed_vector_has_no_name() -> None:
    request = queries.query(searching(), VECTOR, Layout("docs", None, "sparse"), encode)
    bm25, dense = request["prefetch"]
    assert (bm25.using, dense.using) == ("sparse", None)


def test_index_parameters_go_to_the_dense_branch_only() -> None:
    native = {"search_params": TUNED, "score_threshold": 0.1, "with_vectors": True}
    request = queried(native=native)
    bm25, dense = request["prefetch"]
    assert (bm25.params, dense.params) == (None, TUNED)
    assert "search_params" not in request
    assert (request["score_threshold"], request["with_vectors"]) == (0.1, True)
    assert "search_params" not in queried(mode="bm25", native=native)
    assert queried(mode="dense", native=native)["search_params"] == TUNED


def test_evidence_needs_both_branches_but_no_fused_query_where_it_can_be_made_from_them() -> None:
    assert queries.fused_here(Fusion(), evidence=True)
    assert not queries.fused_here(Fusion("dbsf"), evidence=True)  # only the server can compute it


def test_a_batch_uses_the_batchs_own_names() -> None:
    native = {
        "with_vectors": ["dense"],
        "search_params": TUNED,
        "shard_key_selector": "a",
        "timeout": 3,
        "consistency": 1,
    }
    batch = queries.batch([queried(mode="dense", native=native, filter=FILTER)])
    (request,) = batch.pop("requests")
    assert batch == {"collection_name": "docs", "timeout": 3, "consistency": 1}
    assert isinstance(request, models.QueryRequest)
    assert (request.query, request.using, request.limit) == (VECTOR, "dense", 20)
    assert (request.filter, request.params, request.shard_key) == (FILTER, TUNED, "a")
    assert request.with_vector == ["dense"]


def test_a_batch_brings_the_payload_unless_told_not_to() -> None:
    fused, bm25 = queried(), {**queried(mode="bm25"), "with_payload": False}
    assert [r.with_payload for r in queries.batch([fused, bm25])["requests"]] == [True, False]


@pytest.mark.parametrize(
    ("left", "seconds"), [(math.inf, None), (0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (10, 10)]
)
def test_timeouts_are_whole_seconds_and_never_zero(left: float, seconds: int | None) -> None:
    assert queries.timeout(left) == seconds


# -- responses


def point(point_id: Any, score: float, payload: Any = None, **rest: Any) -> models.ScoredPoint:
    return models.ScoredPoint(id=point_id, version=7, score=score, payload=payload, **rest)


def test_points_become_candidates_in_their_order() -> None:
    made = uuid.uuid4()
    response = models.QueryResponse(
        points=[point(3, 0.9, {"text": "three", DOC_ID: "doc-3"}), point(str(made), 0.8, None)]
    )
    evidence: Evidence = {"bm25": {3: BranchHit(1, 12.0)}, "dense": {3: BranchHit(2, 0.7)}}
    first, second = responses.candidates(FirstPass(response, evidence=evidence), TextFields())
    assert (first.position, first.id, first.text, first.score) == (0, 3, "three", 0.9)
    assert first.doc_id == "doc-3"
    assert first.branches == {"bm25": BranchHit(1, 12.0), "dense": BranchHit(2, 0.7)}
    assert (second.position, second.id, second.text) == (1, str(made), "")
    assert (second.payload, second.branches, second.doc_id) == ({}, {}, str(made))


def test_rebuilding_keeps_all_of_a_point_but_its_score() -> None:
    rich = point(1, 0.9, {"text": "a"}, vector={"dense": [1.0]}, shard_key="s", order_value=3)
    response = models.QueryResponse(points=[rich, point(2, 0.9, {"text": "b"}), point(3, 0.1)])
    first = FirstPass(response)
    hits = [
        replace(hit, score=score)
        for hit, score in zip(
            responses.candidates(first, TextFields()), (0.2, 0.5, 0.1), strict=True
        )
    ]
    rebuilt = responses.rebuild(first, unchanged(first_pass_order(hits)).page(0, 2))
    assert [(p.id, p.score) for p in rebuilt.points] == [(2, 0.5), (1, 0.2)]
    assert rebuilt.points[1] == rich.model_copy(update={"score": 0.2})
    assert type(rebuilt) is type(response)
    assert response.points[0] is rich  # the first pass itself is not changed
    assert rich.score == 0.9


def test_evidence_counts_ranks_from_one() -> None:
    bm25 = models.QueryResponse(points=[point(2, 9.0), point(1, 8.0)])
    dense = models.QueryResponse(points=[point(1, 0.9)])
    assert responses.evidence({"bm25": bm25, "dense": dense}) == {
        "bm25": {2: BranchHit(1, 9.0), 1: BranchHit(2, 8.0)},
        "dense": {1: BranchHit(1, 0.9)},
    }


def test_branches_are_fused_here_where_qdrant_cannot() -> None:
    bm25 = models.QueryResponse(points=[point(1, 9.0, {"a": 1}), point(2, 5.0), point(3, 1.0)])
    dense = models.QueryResponse(points=[point(2, 0.9), point(4, 0.1, {"b": 2})])
    fused = responses.fuse({"bm25": bm25, "dense": dense}, Fusion("min_max"), k=3)
    assert [(p.id, p.score) for p in fused.points] == [(2, 0.75), (1, 0.5), (3, 0.0)]
    assert fused.points[1].payload == {"a": 1}
    above = responses.fuse({"bm25": bm25, "dense": dense}, Fusion("min_max"), 4, 0.5)
    assert [p.id for p in above.points] == [2, 1]


# -- the connector in local mode


@pytest.fixture
def local() -> QdrantConnector:
    connector = QdrantConnector(QdrantClient(":memory:"), "docs", reranker=None, embedder=None)
    connector.client.create_collection(
        "docs",
        vectors_config={"dense": models.VectorParams(size=2, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    texts = ["red fox", "red hen", "blue hen"]
    connector.add(Document(n, {"text": t}, [1.0, n / 4]) for n, t in enumerate(texts))
    return connector


def test_a_threshold_tests_fused_scores_also_where_they_are_fused_here(
    local: QdrantConnector,
) -> None:
    def found(threshold: float | None) -> dict[Any, float]:
        response = local.search(
            "red",
            query_vector=[1.0, 0.0],
            fusion=Fusion("min_max"),
            score_threshold=threshold,
        )
        return {p.id: p.score for p in response.points}

    everything = found(None)
    assert len(everything) == 3
    # Cosine and BM25 scores are on other scales: a branch's own would not be cut like this.
    assert found(0.6) == {i: s for i, s in everything.items() if s >= 0.6}


def test_a_depth_of_zero_is_refused_and_not_taken_for_the_default(local: QdrantConnector) -> None:
    with pytest.raises(ValueError, match=r"^depth: "):
        local.search("red", query_vector=[1.0, 0.0], depth=0)


# -- writing


def test_ids_that_qdrant_does_not_take_become_the_same_uuid_always() -> None:
    made = uuid.uuid4()
    assert native_id(7) == 7
    assert native_id(str(made)) == str(made)
    assert native_id("7") == 7  # the same document, as in OpenSearch
    for foreign in (
        "doc-1",
        "",
        -1,
        2**64,
        "007",
        "+7",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
        made.hex,
        str(made).upper(),
    ):
        assert str(uuid.UUID(str(native_id(foreign)))) == native_id(foreign)
        assert native_id(foreign) == native_id(foreign)
    assert native_id("doc-1") != native_id("doc-2")


def test_a_document_becomes_a_point_that_remembers_a_foreign_id() -> None:
    client = QdrantClient(":memory:")
    writer = QdrantWriter(client, LAYOUT, Bm25().document, str)
    foreign = writer.item(Document("doc-1", {"a": 1}), "red fox", (0.6, 0.8))
    assert foreign.id == native_id("doc-1")
    assert foreign.payload == {"a": 1, DOC_ID: "doc-1"}
    assert foreign.vector == {"dense": [0.6, 0.8], "bm25": Bm25().document("red fox")}
    own = writer.item(Document(7, {"a": 1}), "", VECTOR)
    assert (own.id, own.payload) == (7, {"a": 1})
    assert own.vector == {"dense": VECTOR}  # no terms, no sparse vector
    with pytest.raises(ValueError, match="no vector"):
        writer.item(Document(7, {}), "", None)


def test_an_existing_collection_that_does_not_fit_is_told_apart() -> None:
    client = QdrantClient(":memory:")

    def problems(dense: Any, sparse: Any, dimension: int | None = 2) -> str:
        client.delete_collection("docs")
        client.create_collection("docs", vectors_config=dense, sparse_vectors_config=sparse)
        return "; ".join(
            found.detail for found in misfits(client.get_collection("docs"), LAYOUT, dimension)
        )

    size = models.VectorParams(size=2, distance=models.Distance.COSINE)
    idf = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    assert problems({"dense": size}, idf) == ""
    assert problems({"dense": size}, idf, dimension=None) == ""
    assert "2 dimensions, the embedder makes 3" in problems({"dense": size}, idf, dimension=3)
    assert "no dense vector 'dense' (it has: 'text')" in problems({"text": size}, idf)
    assert "one without a name" in problems(size, idf)
    assert "no sparse vector 'bm25'" in problems({"dense": size}, None)
    plain = {"bm25": models.SparseVectorParams()}
    assert "lacks modifier=idf" in problems({"dense": size}, plain)


# -- errors


def unexpected(status: int, content: bytes = b"") -> UnexpectedResponse:
    return UnexpectedResponse(status, "reason", content, httpx.Headers())


def said(message: str) -> bytes:
    return json.dumps({"status": {"error": message}}).encode()


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (unexpected(400, said("Wrong input: no vector")), "refused the request: Wrong input"),
        (unexpected(500, b"<html>\n<body>Bad\nGateway</body>"), "refused the request: status 500"),
        (unexpected(401), "refused the API key: set backend.api_key"),
        (unexpected(403, said("write access")), "forbids this to the API key (write access)"),
        (unexpected(503), "cannot be reached"),
        (unexpected(504), "did not answer in time"),
        (ResponseHandlingException(OSError("Connection refused")), "is it up, is the URL right?"),
        (TimeoutError(), "did not answer in time (TimeoutError)"),
        (
            ValueError("Collection docs\nnot found"),
            "refused the request: Collection docs not found",
        ),
    ],
)
def test_errors_are_one_line_with_the_fix(error: Exception, fragment: str) -> None:
    line = errors.describe(error, "http://here:6333")
    assert line.startswith("Qdrant at http://here:6333 ")
    assert fragment in line
    assert "\n" not in line


def test_a_long_error_is_cut() -> None:
    assert len(errors.describe(ValueError("x" * 100_000), "here")) < 400


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (unexpected(429), "transient"),
        (unexpected(503), "transient"),
        (ResourceExhaustedResponse("slow down", 3), "transient"),
        (ResponseHandlingException(OSError("refused")), "transient"),
        (TimeoutError(), "timeout"),
        (ResponseHandlingException(httpx.ReadTimeout("late")), "timeout"),
        (unexpected(413), "too_large"),
        (unexpected(429, said("request larger than rate limiter capacity, please")), "too_large"),
        (unexpected(400), "document"),
        (unexpected(422), "document"),
        (ValueError("not a vector"), "document"),
        (unexpected(401), "fatal"),
        (unexpected(404), "fatal"),
        (RuntimeError("bug"), "fatal"),
    ],
)
def test_whose_fault_a_failed_write_is(error: Exception, cause: Cause) -> None:
    assert errors.cause(error) == cause


def test_passwords_and_keys_are_in_no_error() -> None:
    client = QdrantClient(
        # Nothing listens on port 1.
        url="https://user:hunter2@127.0.0.1:1",
        api_key="hunter3",
        check_compatibility=False,
        timeout=5,
    )
    connector = QdrantConnector(client, "docs", reranker=None, embedder=None)
    with pytest.raises(FirstPassError, match=r"Qdrant at https://127\.0\.0\.1:1 ") as error:
        connector.search("q", query_vector=VECTOR)
    findings = connector.check()
    for text in (str(error.value), *map(repr, findings)):
        assert "hunter" not in text
    client.close()


def test_an_empty_name_is_the_unnamed_vector() -> None:
    assert Layout("docs", "").dense_vector is None
