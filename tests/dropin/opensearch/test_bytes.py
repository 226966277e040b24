"""The bytes on the wire, seen from a server: no other than the raw client's where none are due."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from vecdb_rerank import observe
from vecdb_rerank.testing import ReversingReranker
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch

HITS = [
    {"_index": "docs", "_id": str(n), "_score": 2.5 - n / 10, "_source": {"text": f"text {n}"}}
    for n in range(30)
]
ANSWER = {"took": 3, "timed_out": False, "hits": {"max_score": 2.5, "hits": HITS}}
BODY = {"query": {"match": {"text": "héllo"}}, "size": 30}
OPTIONS: dict[str, Any] = {
    "http_auth": ("user", "secret"),
    "headers": {"x-team": "search"},
    "http_compress": False,
}


@pytest.fixture
def server(httpserver: HTTPServer) -> Iterator[Any]:
    """A server that answers every search, and what it was sent."""
    seen: list[Any] = []

    def handle(request: Request) -> Response:
        seen.append((request.method, request.full_path, headers(request), request.get_data()))
        answer = {"responses": [ANSWER]} if "_msearch" in request.path else ANSWER
        return Response(json.dumps(answer), content_type="application/json")

    httpserver.expect_request(re.compile(".*")).respond_with_handler(handle)
    yield httpserver.url_for(""), seen


def headers(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name != "Host"}


NDJSON = '{"index":"docs"}\n{"query": {"match_all": {}}}\n'
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "off": ("search", {"body": BODY, "index": "docs", "rerank": False}),
    "sort": ("search", {"body": {**BODY, "sort": "year"}, "index": ["a", "b"]}),
    "no query": ("search", {"body": {"query": {"match_all": {}}}}),
    "text": ("search", {"body": '{ "size":0 , "query":{"match":{"a":"b"}}}', "index": "docs"}),
    "bytes": ("search", {"body": b'{"sort": ["_doc"]}', "index": None}),
    "no json": ("search", {"body": "{", "index": "docs"}),
    "no body": ("search", {"index": "docs", "params": {"routing": "x"}, "request_timeout": 9}),
    "url": (
        "search",
        {"body": BODY, "scroll": "1m", "_source": ["a", "b"], "headers": {"X-One": "1"}},
    ),
    "deep enough": ("search", {"body": BODY, "index": "docs"}),
    "msearch off": ("msearch", {"body": [{}, BODY], "index": "docs", "rerank": False}),
    "msearch text": ("msearch", {"body": NDJSON}),
    "msearch bytes": ("msearch", {"body": NDJSON.encode(), "max_concurrent_searches": 2}),
    "msearch deep enough": ("msearch", {"body": ({}, BODY), "index": "docs"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_needs_no_more_is_sent_byte_for_byte(server: Any, name: str) -> None:
    url, seen = server
    method, arguments = CALLS[name]
    native = {n: v for n, v in arguments.items() if n != "rerank"}
    with OpenSearch(url, **OPTIONS) as client:
        raw = getattr(client, method)(**native)
        wrapped = RerankingOpenSearch(client, ReversingReranker(), k=30)
        with observe() as outcomes:
            ours = getattr(wrapped, method)(**arguments)
    one, other = seen
    assert other == one
    deep = "deep enough" in name
    assert [outcome.status for outcome in outcomes] == ["reranked" if deep else "skipped"]
    assert (ours == raw) is not deep


@pytest.mark.parametrize("name", CALLS)
async def test_an_asynchronous_one_too(server: Any, name: str) -> None:
    url, seen = server
    method, arguments = CALLS[name]
    native = {n: v for n, v in arguments.items() if n != "rerank"}
    async with AsyncOpenSearch(url, **OPTIONS) as client:
        await getattr(client, method)(**native)
        wrapped = AsyncRerankingOpenSearch(client, ReversingReranker(), k=30)
        await getattr(wrapped, method)(**arguments)
    one, other = seen
    assert other == one


def test_a_deeper_search_keeps_everything_else(server: Any) -> None:
    """Headers and parameters of the client and of the call; the page moves into the body."""
    url, seen = server
    arguments: dict[str, Any] = {
        "index": ["a", "b-*"],
        "params": {"routing": "x", "size": 5},
        "headers": {"X-One": "1"},
        "preference": "me",
        "from_": 3,
    }
    body = {"query": BODY["query"], "_source": ["year"], "fields": ["date"]}
    with OpenSearch(url, **OPTIONS) as client:
        client.search(body=body, **arguments)
        response = RerankingOpenSearch(client, ReversingReranker(), k=20).search(
            body=body, **arguments
        )
    (_, raw_path, raw_headers, _), (method, path, sent_headers, sent) = seen
    assert method == "POST"
    assert path.partition("?")[0] == raw_path.partition("?")[0]
    assert set(path.partition("?")[2].split("&")) == {"routing=x", "preference=me"}
    assert "size=5" in raw_path
    sized = ("Content-Length",)
    assert {n: v for n, v in sent_headers.items() if n not in sized} == {
        n: v for n, v in raw_headers.items() if n not in sized
    }
    assert json.loads(sent) == {
        "query": BODY["query"],
        "_source": ["year"],
        "size": 20,
        "fields": ["title", "title.*", "text", "text.*", "date"],
    }
    assert len(response["hits"]["hits"]) == 5
