"""Units are counted, priced, and kept within a budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError, RerankerSkippedError, RerankTimeoutError
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.resilience.ledger import Ledger, keep_reservation, reserve_more

PRICES = {"cohere:m": 0.002, "http:jina": 0.00001}


class Time:
    """A clock that the test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def spend(ledger: Ledger, units: float, cost: Cost, name: str = "cohere:m") -> None:
    with ledger.bill(name, units, cost) as bill:
        bill.units = units


def test_what_the_service_billed_is_counted_not_what_was_foretold() -> None:
    ledger = Ledger()
    with ledger.bill("cohere:m", 1.0, Cost()) as bill:
        bill.units = 3.0
    spend(ledger, 500.0, Cost(), "http:jina")
    assert ledger.units() == {"cohere:m": 3.0, "http:jina": 500.0}
    assert Cost(PRICES).of(ledger.units()) == pytest.approx(0.006 + 0.005)


def test_a_call_that_would_go_over_the_budget_is_not_made() -> None:
    ledger, cost = Ledger(Time()), Cost(PRICES, per_minute=0.01)
    for _ in range(5):
        spend(ledger, 1.0, cost)
    with pytest.raises(
        RerankerSkippedError, match=r"cohere:m would go over policy\.cost\.per_minute"
    ):
        spend(ledger, 1.0, cost)
    assert ledger.units() == {"cohere:m": 5.0}
    spend(ledger, 10.0, cost, "tei")  # what has no price is not held back


def test_the_budget_is_one_over_all_rerankers() -> None:
    ledger, cost = Ledger(Time()), Cost(PRICES, per_minute=0.01)
    spend(ledger, 4.0, cost)
    spend(ledger, 200.0, cost, "http:jina")
    with pytest.raises(RerankerSkippedError, match="http:jina"):
        spend(ledger, 1.0, cost, "http:jina")


def test_the_next_minute_and_the_next_day_begin_anew() -> None:
    clock = Time()
    ledger, cost = Ledger(clock), Cost(PRICES, per_minute=0.002, per_day=0.004)
    spend(ledger, 1.0, cost)
    clock.now += 60
    spend(ledger, 1.0, cost)
    clock.now += 60
    with pytest.raises(RerankerSkippedError, match="per_day"):
        spend(ledger, 1.0, cost)
    clock.now += 86_400
    spend(ledger, 1.0, cost)


def test_a_failed_call_gives_its_reservation_back() -> None:
    ledger, cost = Ledger(Time()), Cost(PRICES, per_minute=0.002)
    for _ in range(3):
        with pytest.raises(LookupError), ledger.bill("cohere:m", 1.0, cost):
            raise LookupError
    spend(ledger, 1.0, cost)
    assert ledger.units() == {"cohere:m": 1.0}


@pytest.mark.parametrize("error", [TimeoutError, RerankTimeoutError, GeneratorExit])
def test_a_call_that_was_late_keeps_its_reservation(error: type[BaseException]) -> None:
    clock = Time()
    ledger, cost = Ledger(clock), Cost(PRICES, per_minute=0.004)
    for _ in range(2):
        with pytest.raises(error), ledger.bill("cohere:m", 1.0, cost):
            raise error
    with pytest.raises(RerankerSkippedError):
        spend(ledger, 1.0, cost)
    assert ledger.units() == {}  # what may be billed is not what was billed
    clock.now += 60
    spend(ledger, 1.0, cost)


def test_more_units_are_reserved_within_the_budget() -> None:
    ledger, cost = Ledger(Time()), Cost(PRICES, per_minute=0.006)
    with ledger.bill("cohere:m", 1.0, cost) as bill:
        assert reserve_more(1.0)
        keep_reservation(1.0)
        assert not reserve_more(2.0)
        bill.units = 1.0
    spend(ledger, 1.0, cost)
    with pytest.raises(RerankerSkippedError):
        spend(ledger, 1.0, cost)
    assert ledger.units() == {"cohere:m": 2.0}


def test_outside_of_a_counted_call_nothing_is_reserved() -> None:
    assert reserve_more(1e9)
    keep_reservation(1e9)


def test_threads_together_never_go_over_the_budget() -> None:
    ledger, cost = Ledger(Time()), Cost(PRICES, per_minute=0.02)

    def call(_: int) -> bool:
        try:
            spend(ledger, 1.0, cost)
        except RerankerSkippedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(call, range(100)))
    assert made == 10
    assert ledger.units() == {"cohere:m": 10.0}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"prices": {"m": -1.0}}, r"prices\.m"),
        ({"prices": {"m": float("nan")}}, r"prices\.m"),
        ({"per_minute": -1.0}, "per_minute"),
        ({"per_day": float("inf")}, "per_day"),
    ],
)
def test_wrong_prices_and_budgets_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.cost\.{named}: "):
        Cost(**wrong)
