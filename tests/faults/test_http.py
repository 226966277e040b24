"""The http reranker: its formats, failover, batches, and what it never logs."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.faults import server as faults
from tests.faults.cases import APIS, CLIENTS, COUNT, SECRET, TEXTS, Found, score, search
from tests.faults.server import fault_server
from vecdb_rerank import ConfigurationError, Deadline, HttpReranker, RerankError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.rerankers.wire_formats import FormatName
from vecdb_rerank.resilience import latency
from vecdb_rerank.resilience.chain import Chain

both_apis = pytest.mark.parametrize("api", APIS)


def reranker(url: str | list[str], format: FormatName = "cohere", **options: Any) -> HttpReranker:
    given = {"model": "m", "retries": 1, "api_key": SECRET, **options}
    return HttpReranker(url, format=format, **given)


def searched(url: str | list[str], api: str, *, deadline: float = 3.0, **options: Any) -> Found:
    return search(reranker(url, **options), api, deadline)


@both_apis
def test_logits_become_a_relevance_from_0_to_1(api: str) -> None:
    with fault_server("ok") as server:
        found = searched(server.url, api, format="tei")
    raw = list(found.outcome.raw.values())
    assert raw == sorted(raw, reverse=True)
    assert min(raw) < 0 and max(raw) > 1
    assert all(0 < relevance < 1 for relevance in found.outcome.relevance.values())


@both_apis
def test_logits_where_none_are_expected_name_the_setting(api: str) -> None:
    with fault_server("ok") as server:
        body = {"raw_scores": True}
        found = searched(server.url, api, format="tei", scale="relevance", extra_body=body)
    assert found.outcome.status == "fell_back"
    assert "scale='logits'" in str(found.outcome.reason)


@both_apis
def test_further_keys_go_into_the_body(api: str) -> None:
    with fault_server("ok") as server:
        searched(server.url, api, extra_body={"truncate_prompt_tokens": 512})
    assert server.requests[0]["truncate_prompt_tokens"] == 512


@both_apis
def test_the_next_url_answers_for_one_that_fails(api: str) -> None:
    with fault_server("503") as broken, fault_server("ok") as whole:
        found = searched([broken.url, whole.url], api)
    assert found.outcome.status == "reranked"
    assert (len(broken.requests), len(whole.requests)) == (2, 1)


@both_apis
def test_each_url_is_tried_as_often_as_one_would_be(api: str) -> None:
    with fault_server("503") as one, fault_server("429") as other:
        found = searched([one.url, other.url], api)
    assert found.outcome.status == "fell_back"
    assert (len(one.requests), len(other.requests)) == (2, 2)


@pytest.mark.timing
@both_apis
def test_a_url_that_hangs_leaves_time_for_the_next(api: str) -> None:
    with fault_server("hang before headers") as stuck, fault_server("ok") as whole:
        found = searched([stuck.url, whole.url], api, deadline=0.6)
    assert found.outcome.status == "reranked"
    assert 0.25 < found.seconds < 0.6


@pytest.mark.timing
@both_apis
def test_a_url_that_hung_is_asked_last(api: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its share of the time is lost once, not in every search."""
    with fault_server("hang before headers") as stuck, fault_server("ok") as whole:
        chain = Chain([reranker([stuck.url, whole.url])])
        found = [search(chain, api, 1.0) for _ in range(4)]
        assert {one.outcome.status for one in found} == {"reranked"}
        assert (len(stuck.requests), len(whole.requests)) == (1, 4)
        messages = [record.getMessage() for record in caplog.records]
        where = f"{stuck.url}/v2/rerank"
        assert messages == [f"{where} did not answer in time: called last for 10 s"]
        stuck.behaviour, whole.behaviour = "ok", "503"  # it is asked all the same
        assert search(chain, api, 1.0).outcome.status == "reranked"
        assert len(stuck.requests) == 2
    assert f"{where} answers again" in caplog.text


@both_apis
def test_the_next_url_is_not_asked_what_this_one_refused(api: str) -> None:
    with fault_server("422") as first, fault_server("ok") as second:
        chain = Chain([reranker([first.url, second.url])])
        for _ in range(2):
            assert search(chain, api, 5.0).outcome.status == "fell_back"
    assert first.requests
    assert second.requests == []


@both_apis
@pytest.mark.parametrize("fault", ["401", "404", "NaN", "truncated JSON", "redirect"])
def test_the_next_url_is_asked_where_one_is_broken(fault: str, api: str) -> None:
    with fault_server(fault) as first, fault_server("ok") as second:
        found = searched([first.url, second.url], api)
    assert found.outcome.status == "reranked"
    assert (len(first.requests), len(second.requests)) == (1, 1)


@both_apis
def test_a_timeout_of_one_request_is_tried_again(api: str) -> None:
    with fault_server("hang before headers") as server:
        found = searched(server.url, api, timeout=0.1)
    assert found.outcome.status == "fell_back"
    assert len(server.requests) == 2


@both_apis
def test_many_documents_go_in_batches_over_one_connection(api: str) -> None:
    with fault_server("ok") as server:
        found = searched(server.url, api, format="tei", batch_size=2)
    assert [len(body["texts"]) for body in server.requests] == [2, 2, 1]  # type: ignore[arg-type]
    assert server.connections == 1
    assert found.outcome.scored == COUNT


@pytest.mark.timing
@both_apis
def test_what_was_scored_before_the_deadline_counts(api: str) -> None:
    with fault_server("slow") as server:
        found = searched(server.url, api, batch_size=1, deadline=0.25)
    assert found.outcome.status == "partial"
    assert 1 <= found.outcome.scored <= 2
    assert sorted(found.ids) == list(range(COUNT))


def test_one_reranker_serves_one_event_loop_after_another() -> None:
    with fault_server("ok") as server:
        one = reranker(server.url)

        async def twice() -> None:
            for _ in range(2):
                await run_async(one.steps("q", TEXTS, deadline=Deadline.after(5)))

        asyncio.run(twice())
        asyncio.run(twice())
        one.score("q", TEXTS, deadline=Deadline.after(5))
        asyncio.run(run_async(one.closing()))
        one.score("q", TEXTS, deadline=Deadline.after(5))  # closed is not the end of it
        asyncio.run(run_async(one.closing()))
    assert len(server.requests) == 6
    assert server.connections == 4


def test_the_key_is_in_no_repr_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), fault_server("401") as server:
        url = server.url.replace("//", f"//user:{SECRET}@")
        one = reranker(url)
        found = search(one, "sync", 3.0)
    assert SECRET not in repr(one) + str(found.outcome) + caplog.text


def test_user_and_password_of_a_url_are_sent_as_such() -> None:
    with fault_server("ok") as server:
        url = server.url.replace("//", "//user:p%40ss@")
        searched(url, "sync", api_key=None)
    assert "authorization: basic dxnlcjpwqhnz" in server.heads[0].lower()


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "käse", "nul\0"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^api_key: ") as caught:
        reranker("http://h", api_key=key)
    assert key not in str(caught.value)


def test_a_key_from_a_file_may_end_in_a_line_break() -> None:
    with fault_server("ok") as server:
        searched(server.url, "sync", api_key=f"{SECRET}\n")
    assert f"authorization: bearer {SECRET}\r\n" in server.heads[0].lower() + "\r\n"


def test_the_query_and_the_documents_are_in_no_error_and_no_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(_server: Any, connection: Any, body: Any) -> None:
        detail = [{"msg": f"{body['query']} is too short", "input": body}]
        faults._send(connection, json.dumps({"detail": detail}).encode(), "422 Unprocessable")

    monkeypatch.setitem(faults.BEHAVIOURS, "echo", echo)
    with caplog.at_level("DEBUG"), fault_server("echo") as server:
        found = searched(server.url, "sync")
    for text in (str(found.outcome.reason), caplog.text):
        assert "number five" not in text
        assert TEXTS[0] not in text
    assert "answered 422" in str(found.outcome.reason)


def test_a_slow_reranker_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SLOW", 0.05)
    with caplog.at_level(logging.WARNING), fault_server("slow") as server:
        chain = Chain([reranker(server.url)])
        for _ in range(25):
            search(chain, "sync", 3.0)
    [record] = caplog.records
    assert "lower search.k" in record.getMessage()


def test_an_error_is_a_rerank_error() -> None:
    with fault_server("NaN") as server, pytest.raises(RerankError, match="no finite"):
        score(reranker(server.url))


@pytest.mark.parametrize("query", ["half \ud800 of a pair", "nul \0"])
def test_what_no_encoder_takes_is_sent_all_the_same(query: str) -> None:
    with fault_server("ok") as server:
        one = reranker(server.url)
        one.score(query, [query], deadline=Deadline.after(5))
        run(one.closing())
    assert len(server.requests) == 1


def test_a_body_that_is_no_json_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"^extra_body: "):
        reranker("http://h", extra_body={"since": object()})


@pytest.mark.parametrize(
    ("message", "repeated"),
    [
        ("the model m is not there", True),
        ("cannot read: number 3 of   the five", False),
        ("not a word of number\nfive", False),
    ],
)
def test_a_message_that_repeats_what_was_sent_is_hidden(
    message: str, repeated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_server: Any, connection: Any, _body: Any) -> None:
        faults._send(connection, json.dumps({"message": message}).encode(), "400 Bad Request")

    monkeypatch.setitem(faults.BEHAVIOURS, "refuse", refuse)
    with fault_server("refuse") as server:
        found = searched(server.url, "sync")
    assert ((" ".join(message.split())) in str(found.outcome.reason)) is repeated


SHAPES: list[object] = [
    {"error": {"message": "out of memory", "type": "server_error"}},
    {"error": "out of memory", "error_type": "backend"},
    {"detail": [{"loc": ["body"], "msg": "out of memory"}]},
    {"code": 13, "message": "out of memory", "details": []},
    {"message": "out of memory"},
    {"results": None, "data": None, "error": {"message": "out of memory"}},
]


@both_apis
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "422 Wrong", "503 Busy"])
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_the_reason_of_the_server_is_given(
    shape: int, status: str, client: str, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_server: Any, connection: Any, _body: Any) -> None:
        faults._send(connection, json.dumps(SHAPES[shape]).encode(), status)

    monkeypatch.setitem(faults.BEHAVIOURS, "refuse", refuse)
    with fault_server("refuse") as server:
        found = search(CLIENTS[client](server.url, api_key=SECRET, retries=0), api, 3.0)
    reason = str(found.outcome.reason)
    assert f"answered {status[:3]}" in reason
    assert reason.endswith(": out of memory")
    assert "too long" not in reason


@both_apis
@pytest.mark.parametrize(("code", "requests"), [(429, 2), (503, 2), (401, 1), (None, 1), (3, 1)])
def test_an_error_with_status_200_is_retried_by_the_status_it_names(
    code: int | None, requests: int, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_server: Any, connection: Any, _body: Any) -> None:
        content = json.dumps({"error": {"message": "no", "code": code}}).encode()
        faults._send(connection, content)

    monkeypatch.setitem(faults.BEHAVIOURS, "refuse", refuse)
    with fault_server("refuse") as server:
        assert searched(server.url, api).outcome.status == "fell_back"
    assert len(server.requests) == requests


@pytest.mark.parametrize(("keys", "is_read"), [(1_000, True), (200_000, False)])
def test_a_huge_body_of_an_error_is_not_parsed(
    keys: int, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({**{f"key {n}": n for n in range(keys)}, "message": "the reason"}).encode()

    def behave(_: faults.FaultServer, connection: faults.Connection, _body: faults.Json) -> None:
        faults._send(connection, body, "400 Bad Request")

    monkeypatch.setitem(faults.BEHAVIOURS, "large error", behave)
    with fault_server("large error") as server, pytest.raises(RerankError) as caught:
        score(HttpReranker(server.url, model="m", retries=0), ["one"])
    assert ("the reason" in str(caught.value)) == is_read
