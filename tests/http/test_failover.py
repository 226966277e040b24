"""In which order the urls of one service are asked."""

from __future__ import annotations

import logging

import pytest

from vecdb_rerank.http.failover import UrlRotation
from vecdb_rerank.http.retry import ServiceError

A, B, C = "http://a/rerank", "http://user:hunter2@b/rerank?version=1", "http://c/rerank"
HANGS = ServiceError("b hangs")


class Time:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def turns(clock: Time) -> UrlRotation:
    return UrlRotation([A, B, C], pause=10.0, clock=clock)


def test_one_that_failed_comes_last_until_it_answers(turns: UrlRotation) -> None:
    assert turns.order() == [A, B, C]
    turns.failed(A, HANGS)
    assert turns.order() == turns.order() == [B, C, A]
    turns.failed(B, HANGS)
    assert turns.order() == [C, A, B]
    turns.answered(A)
    assert turns.order() == [A, C, B]
    for url in (A, C):
        turns.failed(url, HANGS)
    assert turns.order() == [A, B, C]


def test_after_the_pause_one_request_asks_it_in_its_place(turns: UrlRotation, clock: Time) -> None:
    turns.failed(A, HANGS)
    clock.now = 9.9
    assert turns.order() == [B, C, A]
    clock.now = 10.0
    assert turns.order() == [A, B, C]
    assert turns.order() == [B, C, A]  # while that one is under way
    turns.failed(A, HANGS)
    clock.now = 19.9
    assert turns.order() == [B, C, A]
    clock.now = 20.0
    assert turns.order() == [A, B, C]
    turns.answered(A)
    assert turns.order() == turns.order() == [A, B, C]


def test_a_failure_of_long_ago_does_not_count_against_one(turns: UrlRotation, clock: Time) -> None:
    turns.failed(B, HANGS)
    clock.now = 60.0
    turns.failed(A, HANGS)
    assert turns.order() == [B, C, A]


def test_it_is_logged_once_without_secrets(
    turns: UrlRotation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            turns.failed(B, HANGS)
        for _ in range(3):
            turns.answered(B)
    assert [record.getMessage() for record in caplog.records] == [
        "b hangs: called last for 10 s",
        "http://b/rerank answers again",
    ]


def test_a_url_alone_is_never_last(caplog: pytest.LogCaptureFixture) -> None:
    turns = UrlRotation([A])
    turns.failed(A, HANGS)
    assert turns.order() == [A]
    assert caplog.records == []
