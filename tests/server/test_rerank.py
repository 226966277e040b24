"""The routes that rerank, as the clients of each API call them."""

from __future__ import annotations

import json

import cohere
import httpx
import pytest

from tests.faults.server import documents_of, fault_server
from tests.server.running import WORDS, Running, serving
from tests.server.words import LATE
from vecdb_rerank import Deadline, HttpReranker
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.rerankers.wire_formats import FormatName

QUERY = "undo a commit"
DOCUMENTS = ["one banana", "how to undo a commit", "undo it"]
BODY = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS}
ORDER = [1, 2, 0]
KEY = "0123456789abcdef-one"


def order(results: list[dict[str, object]]) -> list[object]:
    return [result["index"] for result in results]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_are_ranked(client: httpx.Client, path: str) -> None:
    response = client.post(path, json={**BODY, "top_n": 0, "unknown": {"field": 1}})
    answer = response.json()
    assert order(answer["results"]) == ORDER
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == [0.75, 0.25, 0.0]
    assert all(set(result) == {"index", "relevance_score"} for result in answer["results"])
    assert answer["id"] == response.headers["x-request-id"]
    assert answer["model"] == "default"
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert answer["usage"]["total_tokens"] > 0
    assert response.headers["x-vecdb-rerank-outcome"] == "reranked"
    assert response.headers["x-vecdb-rerank-reranker"] == "words"


def test_cohere_s_sdk_reads_both_versions(running: Running) -> None:
    with httpx.Client() as own:
        v2 = cohere.ClientV2("key", base_url=running.url, httpx_client=own).rerank(
            model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, top_n=2
        )
        v1 = cohere.Client("key", base_url=running.url, httpx_client=own).rerank(
            query=QUERY, documents=[{"text": d} for d in DOCUMENTS], return_documents=True
        )
    assert [(r.index, r.relevance_score) for r in v2.results] == [(1, 0.75), (2, 0.25)]
    assert v2.meta is not None
    assert v2.meta.billed_units is not None
    assert v2.meta.billed_units.search_units == 1
    assert [r.document.text for r in v1.results if r.document] == [DOCUMENTS[n] for n in ORDER]


@pytest.mark.parametrize("format", ["cohere", "cohere_v1", "jina", "vllm", "tei"])
def test_the_http_reranker_reads_each_format(running: Running, format: FormatName) -> None:
    reranker = HttpReranker(running.url, format=format, model="m", retries=0)
    scores = reranker.score(QUERY, DOCUMENTS, deadline=Deadline.after(10))
    run(reranker.closing())
    relevance = [score for score in scores.relevance if score is not None]
    assert sorted(range(3), key=lambda n: relevance[n], reverse=True) == ORDER


def test_objects_are_read_by_their_text_or_fields(running: Running) -> None:
    documents = [{"text": "undo it", "year": 1}, {"title": "a commit", "body": "x", "n": 2}]
    body = {**BODY, "documents": documents, "return_documents": True}
    results = running.client.post("/v1/rerank", json=body).json()["results"]
    assert running.words.calls[-1][1] == ["undo it", "title: a commit\nbody: x\nn: 2"]
    found = {result["index"]: result["document"] for result in results}
    assert found[0] == documents[0]
    assert found[1]["text"].startswith("title: a commit")
    running.client.post("/v1/rerank", json={**body, "rank_fields": ["body", "title"]})
    assert running.words.calls[-1][1] == ["body: x\ntitle: a commit"]


def test_texts_are_bounded_in_characters() -> None:
    nested = {"text": {"deep": ["undo a commit"] * 10_000}}
    documents = ["undo " * 10_000, nested, "undo a commit"]
    with serving(text_fields={"max_chars": 40}) as running:
        results = running.client.post("/v1/rerank", json={**BODY, "documents": documents}).json()
        assert [len(text) for text in running.words.calls[-1][1]] == [40, 40, 13]
        strict = {"query": QUERY, "texts": documents[:1], "truncate": False}
        assert running.client.post("/rerank", json=strict).status_code == 422
    assert len(results["results"]) == 3


def test_empty_documents_come_last_and_are_not_sent(running: Running) -> None:
    body = {**BODY, "documents": ["", "undo it", "  "]}
    results = running.client.post("/v1/rerank", json=body).json()["results"]
    assert [(r["index"], r["relevance_score"]) for r in results] == [(1, 0.25), (0, 0), (2, 0)]
    assert running.words.calls[-1][1] == ["undo it"]


def test_documents_that_were_not_reached_come_last_with_a_warning(client: httpx.Client) -> None:
    body = {**BODY, "documents": [f"{LATE} {QUERY}", "banana", "undo"]}
    response = client.post("/v2/rerank", json={**body, "instruction": "prefer fruit"})
    assert order(response.json()["results"]) == [2, 1, 0]
    assert response.headers["x-vecdb-rerank-outcome"] == "partial"
    unread, unused = response.json()["meta"]["warnings"]
    assert "1 of 3" in unread
    assert "instruction" in unused


def test_tokens_are_limited(running: Running) -> None:
    body = {**BODY, "documents": ["one two three four"], "max_tokens_per_query": 2}
    running.client.post("/v2/rerank", json={**body, "max_tokens_per_doc": 3})
    assert running.words.calls[-1] == ("undo a", ["one two three"])
    more = {"truncate_prompt_tokens": 7, "truncation_side": "left"}  # 2 of the query, 3 special
    running.client.post("/v2/rerank", json={**body, **more})
    assert running.words.calls[-1] == ("undo a", ["three four"])


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/score"])
def test_no_limit_of_tokens_is_written_as_vllm_writes_it(running: Running, path: str) -> None:
    body: dict[str, object] = {**BODY, "documents": ["one two three four"]}
    if path == "/score":
        body = {"text_1": QUERY, "text_2": ["one two three four"]}
    for unlimited in (
        {"truncate_prompt_tokens": -1},
        {"truncate_prompt_tokens": None},
        {"truncate_prompt_tokens": 10_000},
        {"max_tokens_per_doc": 0, "max_tokens_per_query": 0},
    ):
        assert running.client.post(path, json={**body, **unlimited}).status_code == 200
        assert running.words.calls[-1] == (QUERY, ["one two three four"])
    for wrong in (0, -2, 1.5, "7"):
        answer = running.client.post(path, json={**body, "truncate_prompt_tokens": wrong})
        assert answer.status_code == 422
        assert answer.json()["error"]["param"] == "truncate_prompt_tokens"


def test_infinity_s_clients_get_documents_as_strings() -> None:
    with serving({"document": "string", "url_prefix": "/own/"}) as running:
        answer = running.client.post("/rerank", json={**BODY, "return_documents": True}).json()
        assert running.url.endswith("/own")
    assert [result["document"] for result in answer["results"]] == [DOCUMENTS[n] for n in ORDER]


def test_many_documents_are_split_and_the_request_s_id_is_sent_on() -> None:
    """A real service behind: its client sends at most 1,000 documents at once."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "abc", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    with fault_server("ok") as behind:
        service = {"type": "cohere", "base_url": behind.url, "api_key": "k"}
        body = {**BODY, "documents": [f"text {n}" for n in range(1_500)], "top_n": 1_400}
        with serving(reranker=service) as running:
            results = running.client.post("/v1/rerank", json=body, headers=headers).json()[
                "results"
            ]
    assert len(set(order(results))) == 1_400
    sizes = [len(documents_of(request)) for request in behind.requests]
    assert (sum(sizes), max(sizes)) == (1_500, 1_000)
    for head in behind.heads:
        assert "x-request-id: abc" in head
        assert f"traceparent: 00-{trace}-" in head


def test_the_next_reranker_answers_if_one_fails_and_an_outage_is_said() -> None:
    broken = {**WORDS, "name": "broken", "fails": True}
    with serving(rerankers=[broken, WORDS]) as running:
        response = running.client.post("/v1/rerank", json=BODY)
    assert response.status_code == 200
    assert response.headers["x-vecdb-rerank-reranker"] == "words"
    with serving(reranker=broken) as running:
        common = running.client.post("/v1/rerank", json=BODY)
        tei = running.client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
    assert common.status_code == 502
    assert common.json()["message"] == common.json()["error"]["message"]
    assert tei.status_code == 424
    assert tei.json()["error_type"] == "Backend"
    assert "10.0.0.1" not in common.text + tei.text


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("query", None, "query"),
        ("query", 1, "query"),
        ("query", " ", "query"),
        ("documents", "text", "documents"),
        ("documents", ["a", None], "documents.1"),
        ("documents", [json.loads('{"a":' * 200 + "1" + "}" * 200)], "documents"),
        ("top_n", -1, "top_n"),
        ("top_n", True, "top_n"),
        ("return_documents", "yes", "return_documents"),
        ("rank_fields", "title", "rank_fields"),
        ("max_tokens_per_doc", -1, "max_tokens_per_doc"),
        ("truncation_side", "middle", "truncation_side"),
        ("instruction", [], "instruction"),
        ("model", {}, "model"),
    ],
)
def test_a_wrong_field_is_named(
    client: httpx.Client, field: str, value: object, named: str
) -> None:
    answer = client.post("/v1/rerank", json={**BODY, field: value})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == named


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"query": NaN}', b'{"documents": [}'])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/score", "/score"])
def test_what_is_no_json_object_has_the_error_of_its_path(
    client: httpx.Client, path: str, content: bytes
) -> None:
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == (422 if content == b"[]" else 400)
    assert_shape(answer, tei=path == "/rerank")


def test_the_body_says_whose_error_it_is() -> None:
    keys = [{"key": KEY, "rate": 1_000}]
    with serving({"keys": keys, "max_body_bytes": 1_000}) as running:

        def refused(body: object, status: int, *, tei: bool, **more: str) -> None:
            headers = {"authorization": f"Bearer {KEY}", **more}
            answer = running.client.post("/rerank", json=body, headers=headers)
            assert answer.status_code == status
            assert_shape(answer, tei=tei)

        refused({"query": QUERY, "documents": [1]}, 422, tei=False)
        refused({"query": QUERY}, 422, tei=False)
        refused({"texts": [1], "query": QUERY}, 422, tei=True)
        refused({"texts": ["a"], "documents": [1], "query": QUERY}, 422, tei=False)
        # Before the body was read:
        refused({"query": QUERY, "documents": ["x" * 1_000]}, 413, tei=True)
        refused(BODY, 401, tei=True, authorization="Bearer another-key-of-nobody")
        refused(BODY, 415, tei=True, **{"content-type": "text/plain"})
        refused(BODY, 415, tei=True, **{"content-encoding": "gzip"})


def assert_shape(answer: httpx.Response, *, tei: bool) -> None:
    body = answer.json()
    if tei:
        assert set(body) == {"error", "error_type"}
        assert isinstance(body["error"], str)
    else:
        assert set(body) == {"id", "message", "detail", "error"}


def test_no_or_too_many_documents() -> None:
    with serving({"max_documents": 2}) as running:
        none = running.client.post("/v1/rerank", json={**BODY, "documents": []})
        many = running.client.post("/v1/rerank", json=BODY)
        tei = running.client.post("/rerank", json={"query": QUERY, "texts": []})
    assert [none.status_code, many.status_code, tei.status_code] == [400, 413, 400]
    assert tei.json()["error_type"] == "Empty"
