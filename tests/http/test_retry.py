"""When a server is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank import ConfigurationError, Deadline, HttpReranker
from vecdb_rerank.flow.steps import Flow, Wait
from vecdb_rerank.http.retry import ServiceError, is_transient, retry, retry_after, within

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.text(max_size=40))
def test_any_retry_after_is_a_wait_or_none(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or wait >= 0


@given(st.integers(0, 10**6))
def test_seconds_are_seconds(seconds: int) -> None:
    assert retry_after(str(seconds), NOW) == seconds
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, NOW) == seconds


@pytest.mark.parametrize("header", ["9" * 400, "9" * 4_000])
def test_an_absurd_number_of_seconds_is_a_wait_without_end(header: str) -> None:
    assert retry_after(header, NOW) == float("inf")


@pytest.mark.parametrize("header", ["", "soon", "1.5", "Mon, 99 Foo 2026", "9" * 5_000])
def test_what_is_no_retry_after_is_none(header: str) -> None:
    assert retry_after(header, NOW) is None


def test_a_date_that_has_passed_is_now() -> None:
    assert retry_after(format_datetime(NOW - timedelta(hours=1), usegmt=True), NOW) == 0


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert is_transient(status)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_what_will_not_pass_is_not(status: int) -> None:
    assert not is_transient(status)


def tries(error: Exception, deadline: Deadline, retries: int) -> tuple[int, list[float]]:
    """How often an attempt that fails with ``error`` is made, and the waits between."""
    made, waits = 0, []

    def attempt() -> Flow[None]:
        nonlocal made
        made += 1
        yield from ()
        raise error

    flow = retry(attempt, within(deadline, retries))
    with pytest.raises(type(error)):
        step = next(flow)
        while True:
            assert isinstance(step, Wait)
            waits.append(step.seconds)
            step = flow.send(None)
    return made, waits


def test_n_retries_are_n_more_attempts() -> None:
    made, waits = tries(ServiceError("busy", transient=True), Deadline(), 4)
    assert made == 5
    assert all(0 <= wait <= 2 for wait in waits)


def test_what_does_not_pass_is_tried_once() -> None:
    assert tries(ServiceError("no", transient=False), Deadline(), 4) == (1, [])


def test_the_servers_own_wait_is_kept_where_it_fits() -> None:
    error = ServiceError("busy", transient=True, retry_after=3.0)
    assert tries(error, Deadline.after(60), 2) == (3, [3.0, 3.0])


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    error = ServiceError("busy", transient=True, retry_after=3600.0)
    assert tries(error, Deadline.after(10), 5) == (1, [])


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"url": []}, "url"),
        ({"url": "localhost:8080"}, "url"),
        ({"format": "xml"}, "format"),
        ({"model": None}, "model"),
        ({"timeout": 0}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}:"):
        HttpReranker(**{"url": "http://h", "model": "m", **wrong})  # type: ignore[arg-type]


def test_the_key_is_in_no_repr() -> None:
    assert "secret" not in repr(HttpReranker("http://h", model="m", api_key="secret"))
