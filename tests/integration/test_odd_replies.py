"""Servers that reply with something else than a database does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from vecdb_rerank import connect
from vecdb_rerank.errors import FirstPassError
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector

REPLIES: list[Any] = [
    {"result": []},
    {"result": 7},
    {"result": None},
    {"responses": []},
    {"hits": {}},
    {"took": 1},
    {},
    [],
    "text",
    7,
    None,
]


def connected(kind: str, server: HTTPServer) -> Any:
    return connect(
        backend={"type": kind, "url": server.url_for("/").rstrip("/")},
        reranker={"type": "none"},
        embedder={"type": "none"},
    )


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_a_reply_of_another_form_is_named_so(
    httpserver: HTTPServer, kind: str, mode: str, reply: Any
) -> None:
    mapping = {"documents": {"mappings": {"properties": {"bm25_text": {"type": "text"}}}}}
    httpserver.expect_request("/documents/_mapping").respond_with_json(mapping)
    httpserver.expect_request(re.compile(".*")).respond_with_json(reply)
    with (
        connected(kind, httpserver) as connector,
        pytest.raises(FirstPassError, match="unexpected form"),
    ):
        connector.search("any", query_vector=[0.5, 0.5], mode=mode)


class Limited(QdrantClient):
    """A client whose server allows no more reads."""

    def scroll(self, *_: Any, **__: Any) -> Any:
        content = b'{"status": {"error": "Read rate limit exceeded: Retry after 60s"}}'
        raise UnexpectedResponse(429, "Too Many Requests", content, headers=None)  # type: ignore[arg-type]


def test_check_survives_a_read_rate_limit() -> None:
    client = Limited(":memory:")
    connector = QdrantConnector(client, "docs", embedder=HashEmbedder(), reranker=None)
    connector.create()
    connector.add([{"id": 1, "text": "red fox"}])
    findings = connector.check()
    assert [finding.level for finding in findings if finding.level != "ok"] == ["warning"]
    assert "rate" in findings[-1].detail
    client.close()
