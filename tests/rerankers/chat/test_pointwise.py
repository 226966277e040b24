"""A language model that judges single documents, against a scripted chat endpoint."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import pytest

from tests.faults.cases import APIS, score
from tests.rerankers.chat.answers import data_of, likely, said
from tests.scripted_server import Answer, Body, refused, scripted_server
from vecdb_rerank import LlmReranker, RerankError, RerankTimeoutError

TEXTS = [f"text {n}" for n in range(12)]
both_apis = pytest.mark.parametrize("api", APIS)


def made(url: str, **options: Any) -> LlmReranker:
    return LlmReranker(url, **{"model": "m", "mode": "pointwise", "retries": 0, **options})


def number(body: Body) -> int:
    return int(data_of(body)["document"].split()[-1])


def probable(body: Body) -> Answer:
    """A model that says yes with a probability of (n + 1) / 20."""
    yes = (number(body) + 1) / 20
    return likely(("yes", math.log(yes)), ("No", math.log(1 - yes)), ("Maybe", -9.0))


def graded(body: Body) -> Answer:
    """A server without log probabilities, whose model gives grades."""
    if "grade" not in body["messages"][0]["content"]:
        return said("yes")
    return said(json.dumps({"grade": number(body) % 5}))


@both_apis
def test_the_relevance_is_the_probability_of_yes(api: str) -> None:
    with scripted_server(probable) as server:
        scores = score(made(server.url), TEXTS, api)
    assert scores.relevance == pytest.approx([(n + 1) / 20 for n in range(12)])
    assert scores.raw[0] == pytest.approx(math.log(1 / 19))
    assert scores.billed == 12 * 110
    assert len(server.requests) == 12
    fields = {key: server.requests[0][key] for key in ("max_tokens", "logprobs", "top_logprobs")}
    assert fields == {"max_tokens": 1, "logprobs": True, "top_logprobs": 20}
    assert "response_format" not in server.requests[0]


@both_apis
def test_a_server_without_log_probabilities_is_asked_for_grades(api: str) -> None:
    with scripted_server(graded) as server:
        one = made(server.url)
        scores = score(one, TEXTS, api)
        assert scores.relevance == [n % 5 / 4 for n in range(12)]
        assert len(server.requests) == 13  # the first document was asked for twice
        assert "logprobs" not in server.requests[-1]
        schema = server.requests[-1]["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["grade"]["enum"] == [0, 1, 2, 3, 4]
        score(one, TEXTS, api)
        assert len(server.requests) == 25


def test_a_server_that_refuses_log_probabilities_is_asked_for_fewer_then_for_grades() -> None:
    def script(body: Body) -> Answer:
        if body.get("top_logprobs", 0) > most:
            return refused(f"top_logprobs must be at most {most}")
        return probable(body) if body.get("logprobs") else graded(body)

    most = 5
    with scripted_server(script) as server:
        assert score(made(server.url), TEXTS).relevance[0] == pytest.approx(0.05)
        assert len(server.requests) == 13
    most = -1
    with scripted_server(
        lambda body: script(body) if "logprobs" in body else graded(body)
    ) as server:
        assert score(made(server.url), TEXTS).relevance[1] == 0.25


def test_a_model_that_says_something_else_is_asked_for_grades() -> None:
    def script(body: Body) -> Answer:
        return likely(("<think>", -0.01), ("Well", -5.0)) if body.get("logprobs") else graded(body)

    with scripted_server(script) as server:
        assert score(made(server.url), TEXTS).relevance[3] == 0.75


def test_documents_without_a_usable_answer_stay_unscored() -> None:
    def script(body: Body) -> Answer:
        if number(body) == 3:
            return likely(("Perhaps", -0.1))
        return refused("too long") if number(body) == 5 else probable(body)

    with scripted_server(script) as server:
        scores = score(made(server.url), TEXTS)
    assert [n for n, raw in enumerate(scores.raw) if raw is None] == [3, 5]
    assert "2 of 12" in scores.notes["answers_unusable"]


def test_documents_that_there_was_no_time_for_stay_unscored() -> None:
    hold = threading.Event()

    def script(body: Body) -> Answer:
        if number(body) > 3:
            hold.wait(10)
        return probable(body)

    with scripted_server(script) as server:
        one = made(server.url)
        scores = score(one, TEXTS, seconds=0.8)
        hold.set()
        assert [n for n, raw in enumerate(scores.raw) if raw is not None] == [0, 1, 2, 3]
    hold.clear()
    with scripted_server(lambda _: Answer(hold.wait(10))) as server:
        with pytest.raises(RerankTimeoutError):
            score(made(server.url), TEXTS, seconds=0.3)
        hold.set()


@both_apis
def test_a_failing_server_is_not_asked_for_each_document(api: str) -> None:
    with scripted_server(lambda _: refused("no such key", 401)) as server:
        with pytest.raises(RerankError, match="api_key"):
            score(made(server.url), TEXTS, api)
        assert len(server.requests) == 1


def test_refusals_for_all_documents_are_an_error() -> None:
    with (
        scripted_server(lambda _: said(None, refusal="I can't help with that.")) as server,
        pytest.raises(RerankError, match="can't help"),
    ):
        score(made(server.url), TEXTS)


def test_a_model_that_thinks_longer_than_it_may_is_an_error_that_names_the_option() -> None:
    with (
        scripted_server(lambda _: said("", finish_reason="length")) as server,
        pytest.raises(RerankError, match="answer_tokens"),
    ):
        score(made(server.url), TEXTS)
    with scripted_server(graded) as server:
        score(made(server.url, answer_tokens=4_000), TEXTS)
    assert server.requests[-1]["max_tokens"] == 4_000


@pytest.mark.parametrize("cap", [{"max_calls": 5}, {"max_tokens": 1_000}])
def test_the_limits_of_a_search_hold(cap: dict[str, int]) -> None:
    with scripted_server(probable) as server:
        scores = score(made(server.url, **cap), TEXTS)
    count = sum(raw is not None for raw in scores.raw)
    assert 0 < count < 12
    assert len(server.requests) == count
    assert f"{count} of 12" in scores.notes["calls_capped"]


def test_its_relevance_may_be_tested() -> None:
    one = made("http://h")
    assert not one.by_rank
    assert not one.listwise
    assert one.predicted_units("q", TEXTS) == pytest.approx(
        12 * one.predicted_units("q", TEXTS[:1]), rel=0.05
    )
