"""BM25 by a text index of Qdrant, without sparse vectors."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient, models
from werkzeug import Request, Response

from tests.contract.backends import Backend, down, first_pass_notes
from vecdb_rerank.errors import FirstPassError, SchemaError
from vecdb_rerank.outcome import observe
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name
from vecdb_rerank_qdrant import Bm25, QdrantConnector

EMBEDDER = HashEmbedder(4)
BARE: dict[str, Any] = {"embedder": EMBEDDER, "reranker": KeepingReranker()}
DENSE = models.VectorParams(size=4, distance=models.Distance.COSINE)
SCORED = models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=True)
TEXTS = ["red fox", "honey bees dance", "a fox, a red fox and a very long tail of other words"]


def filled(qdrant: Backend, *, indexed: bool = True) -> str:
    """A collection of vectors and texts, as others make it."""
    name = new_name()
    qdrant.call(qdrant.client.create_collection(name, vectors_config=DENSE))
    vectors = EMBEDDER.embed_documents(TEXTS)
    points = [
        models.PointStruct(id=n, vector=list(vector), payload={"page_content": text})
        for n, (text, vector) in enumerate(zip(TEXTS, vectors, strict=True))
    ]
    qdrant.call(qdrant.client.upsert(name, points))
    if indexed:
        qdrant.call(qdrant.client.create_payload_index(name, "page_content", SCORED))
    return name


def connected(qdrant: Backend, name: str, **options: Any) -> Any:
    fields = {"dense_vector": "", "text_index": "page_content"}
    return qdrant.connect(name, **fields, **options, **BARE)


def test_bm25_and_hybrid_search_a_text_index(qdrant: Backend) -> None:
    name = filled(qdrant)
    connector = connected(qdrant, name)
    findings = qdrant.call(connector.check())
    assert [f.subject for f in findings if not f.ok] == ["text"]  # which is another setting
    assert ids(connector, qdrant.call(connector.search("fox", mode="bm25"))) == ["0", "2"]
    assert set(ids(connector, qdrant.call(connector.search("fox")))) == {"0", "1", "2"}
    for evidence in (True, False):
        assert first_pass_notes(qdrant.call, connector, "fox", evidence=evidence) == {}
    only = qdrant.call(connector.search("fox", mode="bm25", filter={"must": [{"has_id": [2]}]}))
    assert ids(connector, only) == ["2"]
    qdrant.call(connector.delete())


def test_bm25s_parameters_are_those_of_the_queries(qdrant: Backend) -> None:
    name = filled(qdrant)
    orders = []
    for b in (0.0, 1.0):  # by frequency, and by length
        bm25 = Bm25(k=5.0, b=b)
        connector = connected(qdrant, name, bm25=bm25, defaults=SearchDefaults(mode="bm25"))
        orders.append(ids(connector, qdrant.call(connector.search("fox", rerank=False))))
    assert orders == [["2", "0"], ["0", "2"]]
    qdrant.call(qdrant.client.delete_collection(name))


def test_create_and_add_fill_a_collection_with_a_text_index(qdrant: Backend) -> None:
    connector = qdrant.connect(new_name(), text_index="text", **BARE)
    assert qdrant.call(connector.create())
    assert not qdrant.call(connector.create())
    documents = [{"id": n, "text": text} for n, text in enumerate(TEXTS)]
    assert qdrant.call(connector.add(documents)).added == 3
    assert {f.level for f in qdrant.call(connector.check())} <= {"ok", "note"}
    assert ids(connector, qdrant.call(connector.search("bees", mode="bm25"))) == ["1"]
    qdrant.call(connector.delete())


def test_a_field_that_no_document_has_is_a_note(qdrant: Backend) -> None:
    name = filled(qdrant)
    qdrant.call(qdrant.client.create_payload_index(name, "body", SCORED))
    connector = qdrant.connect(name, dense_vector="", text_index="body", **BARE)
    assert "'body'" in first_pass_notes(qdrant.call, connector, "fox")["dead_branch"]
    assert "branches" in [f.subject for f in qdrant.call(connector.check()) if not f.ok]
    qdrant.call(connector.delete())


def test_without_the_index_hybrid_is_dense_and_bm25_an_error(
    qdrant: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    name = filled(qdrant, indexed=False)
    connector = connected(qdrant, name)
    with observe() as outcomes, caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert qdrant.call(connector.search("fox")).points
    assert ["'page_content'" in o.notes["dead_branch"] for o in outcomes] == [True, True]
    assert len([r for r in caplog.records if "page_content" in r.getMessage()]) >= 1
    with pytest.raises(SchemaError, match="page_content"):
        qdrant.call(connector.search("fox", mode="bm25"))
    layout = {"dense_vector": "", "text_index": "page_content"}
    without = qdrant.connect(name, **layout, embedder=down, reranker=None)
    with pytest.raises(FirstPassError, match="out of order"):
        qdrant.call(without.search("fox"))
    (finding,) = [f for f in qdrant.call(connector.check()) if not f.ok]
    assert (finding.subject, finding.level) == ("text index", "error")
    qdrant.call(connector.delete())


# -- servers before 1.20


@pytest.fixture
def old(httpserver: HTTPServer) -> tuple[QdrantClient, list[Any]]:
    """A client of a server that refuses text queries as 1.16 does, and the queries it got."""
    asked: list[Any] = []
    point = {"id": 1, "version": 0, "score": 0.5, "payload": {"text": "red fox"}}

    def answer(request: Request) -> Response:
        query = json.loads(request.data)
        asked.append(query)
        if "text" in str(query):
            why = "Format error in JSON body: data did not match any variant of QueryInterface"
            body = {"status": {"error": why}, "time": 0.0}
            return Response(json.dumps(body), 400, content_type="application/json")
        body = {"result": {"points": [point]}, "status": "ok", "time": 0.0}
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request("/collections/docs/points/query").respond_with_handler(answer)
    url = httpserver.url_for("/")
    return QdrantClient(url, check_compatibility=False), asked


def test_a_server_that_refuses_text_queries_is_asked_once(
    old: tuple[QdrantClient, list[Any]],
) -> None:
    client, asked = old
    connector = QdrantConnector(client, "docs", text_index="body", **BARE)
    with observe() as outcomes:
        for _ in range(3):
            assert [p.id for p in connector.search("fox").points] == [1]
    assert len(asked) == 4
    assert all("1.20" in outcome.notes["dead_branch"] for outcome in outcomes)
    with pytest.raises(SchemaError, match=r"1\.20"):
        connector.search("fox", mode="bm25")
    client.close()


def test_a_server_that_ignores_text_queries_is_found_out(httpserver: HTTPServer) -> None:
    """Unknown fields of gRPC are dropped: such a server returns any point."""
    point = {"id": 1, "version": 0, "score": 0.0, "payload": {"text": "red fox"}}
    body = {"result": {"points": [point]}, "status": "ok", "time": 0.0}
    httpserver.expect_request("/collections/docs/points/query").respond_with_json(body)
    client = QdrantClient(httpserver.url_for("/"), check_compatibility=False)
    connector = QdrantConnector(client, "docs", text_index="body", **BARE)
    with pytest.raises(SchemaError, match=r"1\.20"):
        connector.search("fox", mode="bm25")
    client.close()
