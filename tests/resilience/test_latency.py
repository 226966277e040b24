"""When a slow reranker is warned of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.resilience.latency import (
    ENOUGH,
    FRESH,
    KNOWN,
    PAUSE,
    WINDOW,
    Estimate,
    LatencyModel,
    Timed,
    p95,
)


class Time:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_slow_calls_are_warned_of_and_the_fix_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pace = LatencyModel("http:h", clock=Time())
    for _ in range(ENOUGH):
        pace.record(50, 0.8)
    [message] = warnings(caplog)
    assert message == (
        "reranking with http:h is slow: p95 800 ms over the last 20 calls; lower search.k, use a "
        "nearer server, or a local model (reranker.type = 'onnx')"
    )


def test_a_few_calls_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pace = LatencyModel("http:h", clock=Time())
    for _ in range(ENOUGH - 1):
        pace.record(50, 9.0)
    assert warnings(caplog) == []


def test_fast_calls_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pace = LatencyModel("http:h", clock=Time())
    for n in range(WINDOW):
        pace.record(50, 9.0 if n % 25 == 24 else 0.1)  # 4 % are slow
    assert warnings(caplog) == []


def test_the_warning_comes_at_most_once_in_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()
    pace = LatencyModel("http:h", clock=clock)
    for second in range(int(PAUSE) + 100):
        clock.now = float(second)
        pace.record(50, 0.8)
    assert len(warnings(caplog)) == 2


def test_old_calls_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()
    pace = LatencyModel("http:h", clock=clock)
    for seconds in [0.8] * ENOUGH + [0.1] * WINDOW:
        pace.record(50, seconds)
    clock.now = PAUSE + 1
    pace.record(50, 0.8)
    assert len(warnings(caplog)) == 1


def test_a_local_model_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pace = LatencyModel("onnx:m", warns=False, clock=Time())
    for _ in range(ENOUGH):
        pace.record(50, 9.0)
    assert warnings(caplog) == []


def test_p95() -> None:
    assert p95([n / 100 for n in range(1, 101)]) == 0.95
    assert p95([1.0]) == 1.0


def calls(*pairs: tuple[int, float]) -> list[Timed]:
    return [Timed(0.0, documents, seconds) for documents, seconds in pairs]


def test_fixed_and_per_document_cost_are_told_apart() -> None:
    estimate = Estimate.of(calls((10, 0.3), (50, 0.7), (100, 1.2)))
    assert estimate.fixed == pytest.approx(0.2)
    assert estimate.per_document == pytest.approx(0.01)
    assert estimate.spread == pytest.approx(0.0, abs=1e-6)
    assert estimate.seconds(80) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "max_documents"), [(2.0, 100), (0.705, 50), (0.5, 29), (0.1, 0)]
)
def test_what_fits(seconds: float, max_documents: int) -> None:
    assert Estimate(0.2, 0.01).max_documents(100, seconds) == pytest.approx(max_documents, abs=1)


def test_calls_of_one_size_are_half_fixed_until_another_size_is_seen() -> None:
    estimate = Estimate.of(calls((50, 0.5), (50, 0.5)))
    assert (estimate.fixed, estimate.per_document) == pytest.approx((0.25, 0.005))
    better = Estimate.of(calls((50, 0.5), (50, 0.5), (25, 0.5)))  # all of it was fixed
    assert better.per_document == pytest.approx(0.0)
    assert better.max_documents(50, 0.4) == 0
    assert better.max_documents(50, 0.6) == 50


def test_the_spread_of_the_calls_is_kept_in_hand() -> None:
    estimate = Estimate.of(calls((50, 0.1), (50, 0.3), (50, 0.1), (50, 0.3)))
    assert estimate.spread == pytest.approx(0.1)
    assert estimate.max_documents(50, 0.29) < 50
    assert estimate.max_documents(50, 0.31) == 50


def test_what_was_in_time_is_foretold_to_be_so_again() -> None:
    mostly_slow = calls(*[(50, 0.9)] * 9, (50, 0.1))
    assert Estimate.of(mostly_slow).max_documents(50, 0.91) == 50


def test_late_calls_are_warned_of_and_foretell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pace = LatencyModel("http:h", clock=Time())
    for _ in range(ENOUGH):
        pace.record(50, 0.8, scored=0)
    assert pace.estimate() is None
    assert len(warnings(caplog)) == 1


@given(
    st.lists(
        st.tuples(st.integers(1, 1_000), st.floats(1e-4, 60.0)), min_size=KNOWN, max_size=WINDOW
    ),
    st.integers(1, 1_000),
    st.floats(1e-3, 60.0),
)
def test_what_fits_never_takes_longer_than_foretold(
    seen: list[tuple[int, float]], documents: int, left: float
) -> None:
    estimate = Estimate.of(calls(*seen))
    assert estimate.fixed >= -1e-9
    assert estimate.per_document >= 0.0
    max_documents = estimate.max_documents(documents, left)
    assert 0 <= max_documents <= documents
    if max_documents:
        assert estimate.fixed + estimate.per_document * max_documents <= left * (1 + 1e-9)


def test_a_few_calls_foretell_nothing_and_old_ones_no_longer() -> None:
    clock = Time()
    pace = LatencyModel("http:h", clock=clock)
    for _ in range(KNOWN - 1):
        pace.record(50, 0.5)
    assert pace.estimate() is None
    pace.record(50, 0.5)
    assert pace.estimate() is not None
    assert pace.predict_count(100, 0.6) < 100
    clock.now = FRESH + 1
    assert pace.predict_count(100, 0.6) == 100
    assert pace.estimate() is not None  # what it takes is remembered


def test_two_late_calls_in_a_row_have_less_sent_and_success_more_bit_by_bit() -> None:
    pace = LatencyModel("http:h", clock=Time())
    pace.record(50, 1.0, scored=0)
    assert pace.predict_count(50, 1.0) == 50  # one may be a fault
    pace.record(50, 1.0, scored=0)
    assert pace.predict_count(50, 1.0) == 35
    pace.record(35, 0.9)
    assert 35 < pace.predict_count(50, 1.0) < 40
