"""When a slow reranker is warned of."""

from __future__ import annotations

from collections import deque

import pytest

from vecdb_rerank.pace import ENOUGH, PAUSE, WINDOW, Pace, p95


class Time:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_slow_calls_are_warned_of_and_the_fix_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pace = Pace(Time())
    for _ in range(ENOUGH):
        pace.record("http:h", 0.8)
    [message] = warnings(caplog)
    assert message == (
        "reranking with http:h is slow: p95 800 ms over the last 20 calls; lower search.k, use a "
        "nearer server, or a local model (reranker.type = 'onnx')"
    )


def test_a_few_calls_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pace = Pace(Time())
    for _ in range(ENOUGH - 1):
        pace.record("http:h", 9.0)
    assert warnings(caplog) == []


def test_fast_calls_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pace = Pace(Time())
    for n in range(WINDOW):
        pace.record("http:h", 9.0 if n % 25 == 24 else 0.1)  # 4 % are slow
    assert warnings(caplog) == []


def test_the_warning_comes_at_most_once_in_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()
    pace = Pace(clock)
    for second in range(int(PAUSE) + 100):
        clock.now = float(second)
        pace.record("http:h", 0.8)
    assert len(warnings(caplog)) == 2


def test_old_calls_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()
    pace = Pace(clock)
    for seconds in [0.8] * ENOUGH + [0.1] * WINDOW:
        pace.record("http:h", seconds)
    clock.now = PAUSE + 1
    pace.record("http:h", 0.8)
    assert len(warnings(caplog)) == 1


def test_p95() -> None:
    assert p95(deque(n / 100 for n in range(1, 101))) == 0.95
    assert p95(deque([1.0])) == 1.0
