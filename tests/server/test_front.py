"""What every request passes first."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import time

import httpx
import pytest

from tests.server.running import Running, serving
from tests.server.words import SLOW
from vecdb_rerank.config.loading import check
from vecdb_rerank.errors import ConfigurationError

POSTS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score", "/v1/search", "/mcp"]
BODY = {"query": "q", "documents": ["d"]}


@pytest.mark.parametrize(
    ("headers", "status", "named"),
    [
        ({"host": "evil.example"}, 421, "host"),
        ({"host": "127.0.0.1@evil.example"}, 421, "host"),
        ({"origin": "http://evil.example"}, 403, "origin"),
        ({"origin": "null"}, 403, "origin"),
        ({"host": "localhost", "origin": "https://localhost"}, 403, "origin"),
        ({"host": "localhost", "origin": "https://localhost:80"}, 403, "origin"),
        ({"host": "localhost:443", "origin": "http://localhost"}, 403, "origin"),
        ({"host": "localhost:1234", "origin": "http://localhost:1235"}, 403, "origin"),
        ({"host": "localhost:1234", "origin": "localhost:1234"}, 403, "origin"),
        ({"host": "localhost", "origin": "http://localhost/"}, 403, "origin"),
        ({"host": "localhost", "origin": "http://localhost, http://localhost"}, 403, "origin"),
        ({"origin": ""}, 403, "origin"),
        ({"content-type": "text/plain"}, 415, "content-type"),
        ({"content-encoding": "br"}, 415, "content-encoding"),
        ({"content-encoding": "gzip"}, 415, "content-encoding"),
        ({"x-request-timeout-ms": "0"}, 400, "x-request-timeout-ms"),
        ({"x-envoy-expected-rq-timeout-ms": "soon"}, 400, "x-envoy-expected-rq-timeout-ms"),
    ],
)
def test_a_wrong_header_is_named(
    client: httpx.Client, headers: dict[str, str], status: int, named: str
) -> None:
    answer = client.post("/v1/rerank", json=BODY, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == named


def test_pages_of_the_service_itself_and_of_named_origins_may_call() -> None:
    named = ["https://App.example:443", "http://localhost:3000", "chrome-extension://abc"]
    with serving({"origins": named, "hosts": ["search.example"]}) as running:

        def status(host: str, origin: str) -> int:
            headers = {"host": host, "origin": origin}
            return running.client.post("/v1/rerank", json=BODY, headers=headers).status_code

        assert status("localhost:1234", "http://localhost:1234") == 200
        assert status("LOCALHOST:80", "http://localhost") == 200
        assert status("[::1]:8000", "http://[::1]:8000") == 200
        for origin in ("https://app.example", "http://localhost:3000", "chrome-extension://abc"):
            assert status("search.example", origin) == 200
        for origin in (
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.app.example",
            "https://localhost:3000",
            "http://localhost",
        ):
            assert status("search.example", origin) == 403


def test_every_route_refuses_pages_of_other_origins(client: httpx.Client) -> None:
    gets = ["/", "/v1/models", "/info", "/health", "/openapi.json", "/docs", "/nothing"]
    for method, paths in (("GET", gets), ("POST", POSTS), ("OPTIONS", POSTS)):
        for path in paths:
            answer = client.request(method, path, headers={"origin": "http://evil.example"})
            assert answer.status_code == 403, path
            assert not any("access-control" in name for name in answer.headers)


def test_an_origin_is_given_once(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    answer = client.get("/health", headers=[("origin", own), ("origin", "http://evil.example")])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "origin", ["*", "null", "a.example", "https://a/b", "https://*.example", ""]
)
def test_an_entry_that_is_no_origin_is_named(origin: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(serve={"origins": ["https://app.example", origin]})
    assert caught.value.key == "serve.origins"


def test_bodies_are_bounded_and_checked(running: Running) -> None:
    client = running.client
    kind = {"content-type": "application/json"}
    packed = {**kind, "content-encoding": "gzip"}
    whole = gzip.compress(json.dumps(BODY).encode())
    assert client.post("/v1/rerank", content=whole, headers=packed).status_code == 200
    bomb = gzip.compress(b" " * 20_000_000)
    assert client.post("/v1/rerank", content=bomb, headers=packed).status_code == 413
    for text in (b"", b"{", b'{"query": "\xff"}', b'{"query": "\\ud800"}', b"[" * 5_000):
        assert client.post("/v1/rerank", content=text, headers=kind).status_code == 400
    assert client.post("/v1/rerank", content=b"[]", headers=kind).status_code == 422
    parts = (b" " * 1_000_000 for _ in range(20))  # sent in chunks, without a length
    assert client.post("/v1/rerank", content=parts, headers=kind).status_code == 413
    assert client.get("/v1/rerank").status_code == 405
    assert client.get("/nothing").json()["error"]["code"] == 404


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "0x1", "01"])
@pytest.mark.parametrize("path", POSTS)
def test_a_number_that_json_does_not_have_is_refused(
    client: httpx.Client, path: str, number: str
) -> None:
    for body in (number, f'{{"id": {number}}}', f'{{"params": {{"filter": [{number}]}}}}'):
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "JSON" in answer.text


def test_the_access_log_has_ids_and_no_texts(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vecdb_rerank.access")
    secret = {"query": "secret", "documents": ["secret"]}
    response = client.post("/v1/rerank?secret=1", json=secret, headers={"x-request-id": "id-1"})
    assert response.headers["x-request-id"] == "id-1"
    while not caplog.records:  # it is written after the answer
        time.sleep(0.002)
    [line] = [record.getMessage() for record in caplog.records]
    assert "secret" not in line
    found = json.loads(line)
    assert (found["route"], found["status"], found["request_id"]) == ("/v1/rerank", 200, "id-1")
    response = client.get("/health", headers={"x-request-id": "not an id"})
    assert response.headers["x-request-id"] != "not an id"


def test_the_caller_s_deadline_ends_the_work() -> None:
    headers = {"x-request-timeout-ms": "200", "x-envoy-expected-rq-timeout-ms": "9999"}
    slow = {**BODY, "query": SLOW}
    with serving() as running:  # whose latency is not known yet
        answer = running.client.post("/v1/rerank", json=slow, headers=headers)
        assert answer.status_code == 504
        assert running.words.ended.acquire(timeout=4)


def test_a_client_that_goes_away_ends_the_work(running: Running) -> None:
    content = json.dumps({**BODY, "query": SLOW}).encode()
    head = (
        "POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(running.url).port or 0)) as connection:
        connection.sendall(head.encode() + content)
        assert running.words.started.acquire(timeout=4)
    assert running.words.ended.acquire(timeout=4)  # before the 5 seconds that it would wait
