"""``POST /v1/search`` over real databases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.server.running import WORDS, serving
from tests.server.searched import ALL, OTHER, OWN, QUERY, WIDE, Searched, filled
from tests.server.words import SLOW
from tests.servers import free_port

MODELS = [{"name": "default", "default": True}, {"name": "another"}]


def post(searched: Searched, body: object, path: str = "", key: str = ALL) -> httpx.Response:
    url = f"{searched.url}/v1/search{path}"
    return httpx.post(url, json=body, headers=searched.headers(key), timeout=30)


def payloads(searched: Searched, body: Any) -> list[dict[str, Any]]:
    if searched.name == "qdrant":
        return [point["payload"] for point in body["result"]["points"]]
    return [hit["_source"] for hit in body["hits"]["hits"]]


def _near(hits: list[dict[str, Any]], score: str) -> list[dict[str, Any]]:
    """The hits, with scores that may differ in the last digits."""
    return [{**hit, score: pytest.approx(hit[score])} for hit in hits]


def error(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json()["error"]["param"]


def test_the_response_is_the_connectors_own(searched: Searched) -> None:
    response = post(searched, {"query": QUERY, "limit": 3, "offset": 1})
    assert response.status_code == 200
    body = response.json()
    if searched.name == "qdrant":
        expected = searched.expected.model_dump(mode="json", exclude_none=True)
        assert body["result"] == {"points": _near(expected["points"], "score")}
        type(searched.expected).model_validate(body["result"])
        assert (body["status"], set(body)) == ("ok", {"result", "status", "time"})
        assert body["time"] > 0
    else:
        hits = searched.expected["hits"]
        hits = {**hits, "hits": _near(hits["hits"], "_score"), "max_score": ANY}
        assert body == {**searched.expected, "hits": hits, "took": ANY}
    assert response.headers["x-vecdb-rerank-outcome"] == "reranked"
    assert response.headers["x-vecdb-rerank-reranker"] == "words"
    assert "rerank;dur=" in response.headers["server-timing"]


def test_the_whole_outcome_comes_on_request(searched: Searched) -> None:
    plain = post(searched, {"query": QUERY, "explain": True, "k": 4}).json()
    both = post(searched, {"query": QUERY, "explain": True, "k": 4}, "?outcome=1").json()
    assert payloads(searched, both["response"]) == payloads(searched, plain)
    outcome = both["outcome"]
    assert (outcome["status"], outcome["k"], outcome["scored"]) == ("reranked", 4, 4)
    assert len(outcome["hits"]) == len(outcome["candidates"]) == 4
    assert error(post(searched, {"query": QUERY}, "?outcome=yes")) == (400, "outcome")


def test_a_keys_filter_holds_whatever_the_caller_writes(searched: Searched) -> None:
    for wide in (None, *WIDE[searched.name]):
        body = post(searched, {"query": QUERY, "filter": wide}, "?outcome=1", OWN).json()
        assert {p["tenant"] for p in payloads(searched, body["response"])} <= {"b"}
        assert len(body["outcome"]["candidates"]) <= 2
    found = payloads(searched, post(searched, {"query": QUERY}, key=OWN).json())
    assert len(found) == 2


def test_a_key_searches_its_own_collection(searched: Searched) -> None:
    [found] = payloads(searched, post(searched, {"query": QUERY}, key=OTHER).json())
    assert found["title"] == "Elsewhere"


def test_wrong_fields_are_named(searched: Searched) -> None:
    bad: list[tuple[Any, str]] = [
        ({"query": " "}, "query"),
        ({"query": QUERY, "limit": 300}, "limit"),
        ({"query": QUERY, "k": 5, "limit": 6}, "limit"),
        ({"query": QUERY, "collection": "others"}, "collection"),
        ({"query": QUERY, "filter": "kind:faq"}, "filter"),
    ]
    for body, field in bad:
        assert error(post(searched, body)) == (422, field)


PYTHON = re.compile(r"\b(str|int|float|dict|None|True|False|[mM]apping|dictionary)\b")
WRONG = ["secret", 17, 1.5, True, [], ["secret"], {"secret": 1}, {"must": 3}, {"must": ["secret"]}]
WRONG += [{"must": [{"key": 3}]}, {"must": [{"key": "year", "match": {"value": []}}]}]
WRONG += [{"term": "secret"}, {"bool": {"must": "secret"}}, {"terms": {"secret": {}}}]


@pytest.mark.parametrize("field", ["query", "k", "limit", "offset", "mode", "filter", "explain"])
def test_errors_speak_of_json_and_repeat_no_text(searched: Searched, field: str) -> None:
    for value in WRONG:
        response = post(searched, {"query": QUERY, field: value})
        if response.status_code != 200:
            status, named = error(response)
            assert status == 422
            assert named is not None
            assert named.startswith(field)
            message = response.json()["message"].removeprefix(named)
            assert not PYTHON.search(message), message
            assert "secret" not in message or field == "filter"


def test_long_names_of_fields_are_answered_in_short(searched: Searched) -> None:
    name = "limi" * 1_000_000
    for body in ({name: 1}, {"filter": {name: 1}}, {"filter": {"must": [{name: 1}]}}):
        response = post(searched, {"query": QUERY, **body})
        assert response.status_code == 422
        assert len(response.content) < 5_000


def test_a_body_that_is_not_json_is_refused(searched: Searched) -> None:
    headers = {**searched.headers(), "content-type": "application/json"}
    response = httpx.post(f"{searched.url}/v1/search", content=b"{", headers=headers)
    assert response.status_code == 400
    assert post(searched, [QUERY]).status_code == 422
    assert httpx.post(f"{searched.url}/v1/search", json={"query": QUERY}).status_code == 401


def test_a_filter_that_the_database_refuses_is_the_callers_error(searched: Searched) -> None:
    wrong: dict[str, Any] = {"range": {"year": {"gte": "a word"}}}
    if searched.name == "qdrant":
        wrong = {"min_should": {"conditions": [{"has_id": [1]}], "min_count": 0}}
    response = post(searched, {"query": QUERY, "filter": wrong})
    assert error(response) == (422, "filter")


def test_a_deadline_that_passes_is_a_timeout(searched: Searched) -> None:
    headers = {**searched.headers(), "x-request-timeout-ms": "1"}
    url = f"{searched.url}/v1/search"
    response = httpx.post(url, json={"query": QUERY}, headers=headers)
    assert response.status_code in (503, 504)


@pytest.mark.parametrize("part", ["backend", "embedder"])
def test_an_outage_is_a_bad_gateway_that_names_no_server(part: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {"backend": {"type": "opensearch", "url": url}}
    body = {"query": QUERY}
    if part == "embedder":
        settings["embedder"] = {"type": "tei", "url": url, "retries": 0}
        body["mode"] = "dense"
    with serving(**settings) as running:
        response = running.client.post("/v1/search", json=body)
    assert response.status_code == 502
    assert url.removeprefix("http://") not in response.text


def test_a_hybrid_search_outlives_its_embedder_and_says_so(tmp_path: Path) -> None:
    settings, _ = filled({"type": "qdrant", "collection": "c", "path": str(tmp_path)}, WORDS)
    url = f"http://127.0.0.1:{free_port()}"
    down = {"type": "tei", "url": url, "retries": 0}
    with serving(**{**settings, "serve": {}, "embedder": down}) as running:
        response = running.client.post("/v1/search?outcome=1", json={"query": QUERY})
    assert response.status_code == 200
    assert response.headers["x-vecdb-rerank-outcome"] == "reranked"
    found = response.json()
    assert found["response"]["result"]["points"]
    assert found["outcome"]["mode"] == "bm25"
    assert "embedder_failed" in found["outcome"]["notes"]
    assert url.removeprefix("http://") not in response.text


def test_a_search_of_a_caller_that_has_gone_ends(searched: Searched) -> None:
    words = searched.running.words
    words.go.clear()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{searched.url}/v1/search",
            json={"query": f"{SLOW} {QUERY}"},
            headers=searched.headers(),
            timeout=httpx.Timeout(30, read=0.5),
        )
    assert words.started.acquire(timeout=5)
    assert words.ended.acquire(timeout=2)  # sooner than it would by itself


def test_a_keys_own_wrong_filter_is_no_error_of_the_caller(tmp_path: Path) -> None:
    keys = [
        {"key": ALL, "filter": {"must": [{"key": "kind", "match": {"words": "x"}}]}},
        {"key": OWN, "models": ["another"]},
    ]
    backend = {"type": "qdrant", "path": str(tmp_path)}
    with serving(backend=backend, serve={"keys": keys, "models": MODELS}) as running:
        for key, status in ((ALL, 500), (OWN, 403)):
            headers = {"authorization": f"Bearer {key}"}
            response = running.client.post("/v1/search", json={"query": QUERY}, headers=headers)
            assert response.status_code == status
            assert "kind" not in response.text
