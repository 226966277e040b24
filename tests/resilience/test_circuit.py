"""When a failing reranker is paused, and when it is called again."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError, RerankerSkippedError
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.resilience.circuit import Circuit

RULES = Breaker(failures=3, share=0.5, window=30.0, pause=10.0)


class Time:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """What a circuit watches: fails on demand, and counts its calls."""

    def __init__(self, rules: Breaker = RULES) -> None:
        self.clock = Time()
        self.rules = rules
        self.circuit = Circuit("service", self.clock)
        self.asked = 0

    def call(self, error: Exception | None = None, *, counts: bool = True) -> None:
        with self.circuit.watch(self.rules, lambda _: counts):
            self.asked += 1
            if error is not None:
                raise error

    def fail(self, times: int = 1, *, counts: bool = True) -> None:
        for _ in range(times):
            with pytest.raises(LookupError):
                self.call(LookupError("it is down"), counts=counts)

    @property
    def is_open(self) -> bool:
        asked = self.asked
        try:
            self.call()
        except RerankerSkippedError:
            assert self.asked == asked
            return True
        return False


def test_it_opens_after_failures_in_the_window_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.fail(2)
    assert not service.is_open
    service.fail()
    with pytest.raises(RerankerSkippedError, match=r"service is paused for 10\.0 s .*it is down"):
        service.call()
    [record] = caplog.records
    assert record.getMessage() == (
        "service failed 3 times in 30 s: not called for 10 s (it is down)"
    )


def test_failures_that_are_far_apart_do_not_open_it() -> None:
    service = Service()
    for _ in range(10):
        service.fail()
        service.clock.now += 15.0
    assert not service.is_open


def test_a_busy_service_that_fails_now_and_then_stays() -> None:
    service = Service()
    for _ in range(100):
        service.call()
        service.call()
        service.fail()
    assert not service.is_open


def test_quick_failures_beside_slow_successes_do_not_open_it() -> None:
    service = Service()
    with ExitStack() as under_way:
        for _ in range(20):
            under_way.enter_context(service.circuit.watch(RULES, lambda _: True))
        service.fail(8)
        assert not service.is_open
    assert not service.is_open
    service.fail(14)  # now they are half of all
    assert service.is_open


def test_errors_that_the_request_caused_do_not_count() -> None:
    service = Service()
    service.fail(10, counts=False)
    assert not service.is_open


def test_after_the_pause_one_success_closes_it() -> None:
    service = Service()
    service.fail(3)
    service.clock.now += 9.9
    assert service.is_open
    service.clock.now += 0.2
    assert not service.is_open
    service.fail(2)  # what was before is forgotten
    assert not service.is_open


def test_after_the_pause_one_failure_opens_it_again() -> None:
    service = Service()
    service.fail(3)
    service.clock.now += 10.0
    service.fail()
    assert service.is_open
    service.clock.now += 9.0
    assert service.is_open
    service.clock.now += 1.0
    assert not service.is_open


def test_one_thread_probes_while_the_others_go_on_without() -> None:
    service = Service()
    service.fail(3)
    service.clock.now += 10.0
    inside, done = threading.Event(), threading.Event()

    def probe() -> str:
        with service.circuit.watch(RULES, lambda _: True):
            inside.set()
            assert done.wait(10)
        return "answered"

    def other() -> str:
        assert inside.wait(10)
        try:
            service.call()
        except RerankerSkippedError:
            return "left out"
        return "asked"

    with ThreadPoolExecutor(9) as pool:
        probing = pool.submit(probe)
        others = [pool.submit(other) for _ in range(8)]
        assert [future.result(10) for future in others] == ["left out"] * 8
        done.set()
        assert probing.result(10) == "answered"
    assert not service.is_open


def test_a_probe_that_is_given_up_leaves_the_next_one_its_turn() -> None:
    service = Service()
    service.fail(3)
    service.clock.now += 10.0
    with pytest.raises(KeyboardInterrupt), service.circuit.watch(RULES, lambda _: True):
        raise KeyboardInterrupt
    assert not service.is_open


def test_a_late_failure_does_not_lengthen_the_pause() -> None:
    service = Service()
    with pytest.raises(LookupError), service.circuit.watch(RULES, lambda _: True):
        service.fail(3)  # opens it, while the outer call is still on its way
        service.clock.now += 5.0
        raise LookupError
    service.clock.now += 5.0
    assert not service.is_open


def test_with_a_share_of_zero_only_the_number_counts() -> None:
    service = Service(Breaker(failures=3, share=0.0))
    for _ in range(50):
        service.call()
    service.fail(3)
    assert service.is_open


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"failures": 0}, "failures"),
        ({"share": 1.1}, "share"),
        ({"share": math.nan}, "share"),
        ({"window": 0.0}, "window"),
        ({"pause": -1.0}, "pause"),
        ({"pause": math.inf}, "pause"),
    ],
)
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.breaker\.{named}: "):
        Breaker(**wrong)


def test_without_rules_an_open_circuit_lets_the_call_through() -> None:
    service = Service()
    service.fail(3)
    with service.circuit.watch(None, lambda _: True):
        service.asked += 1
    assert service.asked == 4
    assert not service.is_open  # its success shows that the service answers again


def test_calls_without_rules_count_for_those_with_rules() -> None:
    service = Service()
    for _ in range(3):
        with pytest.raises(LookupError), service.circuit.watch(None, lambda _: True):
            raise LookupError
    assert not service.is_open
    service.fail()
    assert service.is_open
