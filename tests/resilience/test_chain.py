"""Rerankers in order, each with its share of the time, its breaker and its price."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vecdb_rerank.errors import (
    ConfigurationError,
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow, Wait
from vecdb_rerank.model import Answer, Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.ledger import billed_units

TEXTS = [f"text {n}" for n in range(50)]


@dataclass
class Fake(BaseReranker):
    """A reranker that takes ``seconds`` and then fails, or scores by position."""

    name: str = "fake"
    error: Exception | None = None
    seconds: float = 0.0
    asked: list[int] = field(default_factory=list)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.asked.append(len(documents))
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Scores.from_relevance([1 / (n + 1) for n in range(len(documents))])


class Service(Fake):
    """One that does I/O, bills, and is late at the deadline as a remote one is."""

    local = False
    bills = True
    per_document: float = 0.0
    closed: bool = False

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        self.asked.append(len(documents))
        needs = self.seconds + self.per_document * len(documents)
        yield Wait(min(needs, deadline.remaining()))
        if deadline.expired:
            raise RerankTimeoutError(f"{self.name} was late")
        if self.error is not None:
            raise self.error
        return Scores.from_relevance([0.5] * len(documents), billed=1.0)

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        return 1.0

    def closing(self) -> Flow[None]:
        yield Wait(0)
        self.closed = True


@dataclass
class Ruled:
    """A chain with the policy that its calls are given."""

    chain: Chain
    policy: Policy

    def flow(self, seconds: float | None = None) -> Flow[Answer]:
        return self.chain.ask("q", TEXTS, Deadline.after(seconds), self.policy)


def ask(ruled: Ruled, seconds: float | None = None) -> Answer:
    return run(ruled.flow(seconds))


def chain(*rerankers: Fake, **policy: Any) -> Ruled:
    ruled = Ruled(Chain(rerankers), Policy(**policy))
    ruled.chain.check(ruled.policy)
    return ruled


def test_the_first_one_that_answers_is_taken_and_the_others_are_not_asked() -> None:
    first, second = Fake("first"), Fake("second")
    answer = ask(chain(first, second))
    assert (answer.reranker, answer.failed, second.asked) == ("first", {}, [])


def test_the_next_one_is_asked_where_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(chain(Fake("first", LookupError("gone")), Fake("second")))
    assert answer.reranker == "second"
    assert answer.error is None
    assert answer.failed == {"first": "first failed with LookupError"}
    assert answer.scores is not None
    [record] = caplog.records
    assert record.levelno == logging.WARNING


def test_all_failures_are_told() -> None:
    answer = ask(chain(Fake("first", LookupError("a")), Fake("second", RerankError("b"))))
    assert answer.scores is None
    assert answer.reranker == "first"
    assert str(answer.error) == "first: first failed with LookupError; second: b"


@pytest.mark.timing
@pytest.mark.parametrize("kind", [Fake, Service])
def test_one_that_hangs_leaves_the_next_one_time(kind: type[Fake]) -> None:
    started = time.monotonic()
    answer = ask(chain(kind("hangs", seconds=5.0), Service("second", seconds=0.05)), 0.6)
    assert answer.reranker == "second"
    assert list(answer.failed) == ["hangs"]
    assert time.monotonic() - started < 0.6


@pytest.mark.timing
def test_a_chain_of_three_is_reached_to_its_end() -> None:
    hanging = [Service(f"hangs {n}", seconds=5.0) for n in range(2)]
    assert ask(chain(*hanging, Service("third", seconds=0.05)), 0.6).reranker == "third"


@pytest.mark.timing
def test_no_more_time_is_kept_for_the_next_one_than_it_is_known_to_take() -> None:
    flaky, fast = Service("flaky", LookupError()), Fake("fast", seconds=0.01)
    both = chain(flaky, fast, breaker=None)
    for _ in range(6):
        assert ask(both, 1.0).reranker == "fast"
    flaky.error, flaky.seconds = None, 0.7  # more than half of the time
    assert ask(both, 1.0).reranker == "flaky"


@pytest.mark.timing
def test_what_does_not_fit_into_the_time_left_is_not_sent() -> None:
    service = Service("service")
    service.seconds, service.per_document = 0.02, 0.002
    one = chain(service)
    for _ in range(6):
        ask(one, 10.0)
    answer = ask(one, 0.1)
    assert answer.scores is not None
    scored = [raw is not None for raw in answer.scores.raw]
    assert 10 < sum(scored) < 50
    assert scored == sorted(scored, reverse=True)  # the best of the first pass were sent
    assert len(scored) == len(answer.scores.relevance) == 50


@pytest.mark.timing
def test_one_that_cannot_make_it_is_left_out() -> None:
    service = Service("slow", seconds=0.1)
    both = chain(service, Fake("fast"))
    for seconds in (5.0, 5.0, 0.3, 5.0, 5.0, 0.3, 5.0):
        ask(both, seconds)
    asked = len(service.asked)
    answers = [ask(both, 0.02) for _ in range(5)]
    assert {answer.reranker for answer in answers} == {"fast"}
    assert len(service.asked) == asked + 1  # to see whether it still is so slow
    assert "takes longer than the" in answers[-1].failed["slow"]


def test_calls_that_the_deadline_cut_do_not_lock_a_reranker_out() -> None:
    class Batching(Service):
        def steps(
            self, query: str, documents: Sequence[str], *, deadline: Deadline
        ) -> Flow[Scores]:
            yield Wait(deadline.remaining())
            known: list[float | None] = [0.5] * min(10, len(documents))
            return Scores.from_relevance(known + [None for _ in documents[10:]])

    one = chain(Batching("batching"))
    for _ in range(12):
        answer = ask(one, 0.05)
        assert answer.scores is not None
        assert sum(raw is not None for raw in answer.scores.raw) == 10


@pytest.mark.timing
def test_less_is_sent_to_one_that_is_late_with_everything() -> None:
    service = Service("slow")
    service.per_document = 0.004  # 200 ms for all
    one = chain(service, breaker=None, deadline=0.12)
    answers = [ask(one, 0.12) for _ in range(14)]
    assert answers[0].scores is None
    scored = [sum(raw is not None for raw in a.scores.raw) for a in answers if a.scores]
    assert len(scored) >= 7
    assert 10 < max(scored) < 31


@pytest.mark.timing
def test_a_first_one_that_can_score_little_leaves_it_to_one_that_can_score_all() -> None:
    slow, fast = Service("slow"), Fake("fast", seconds=0.001)
    slow.per_document = 0.002
    for one in (chain(slow), chain(fast)):
        for _ in range(6):
            ask(one, 5.0)
    both = chain(slow, fast)
    for seconds in (5.0, 5.0, 5.0, 5.0, 5.0):
        ask(both, seconds)
    slow.error = LookupError()
    for _ in range(5):
        ask(both, 5.0)  # so that the second one's pace is known
    slow.error = None
    answer = ask(both, 0.02)
    assert answer.reranker == "fast"
    assert "too slow for the time left" in answer.failed["slow"]


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'a'"):
        chain(Fake("a"), Fake("a"))


@pytest.mark.timing
def test_time_that_was_too_short_is_not_the_rerankers_fault() -> None:
    service = Service("fine", seconds=0.05)
    one = chain(service, deadline=1.0, breaker=Breaker(failures=2, pause=60.0))
    for _ in range(6):
        ask(one, 0.02)
    assert ask(one, 0.5).scores is not None


def test_a_reranker_that_stops_by_itself_is_given_everything() -> None:
    class Stopping(Fake):
        keeps_deadline = True

    local = Stopping("local", seconds=0.02)
    one = chain(local)
    for _ in range(6):
        ask(one, 5.0)
    ask(one, 0.005)
    assert set(local.asked) == {50}


def test_a_reranker_that_keeps_failing_is_left_alone_and_costs_nothing() -> None:
    service = Service("down", RerankError("503"))
    one = chain(service, breaker=Breaker(failures=3, pause=60.0))
    errors = [ask(one, 5.0).error for _ in range(10)]
    assert len(service.asked) == 3
    assert all(isinstance(error, RerankerSkippedError) for error in errors[3:])
    assert "503" in str(errors[-1])


def test_without_a_breaker_it_is_always_asked() -> None:
    service = Service("down", RerankError("503"))
    one = chain(service, breaker=None)
    for _ in range(20):
        ask(one, 5.0)
    assert len(service.asked) == 20


def test_a_search_that_was_cancelled_while_probing_does_not_block_the_next_one() -> None:
    service = Service("down", RerankError("503"))
    one = chain(service, breaker=Breaker(failures=1, pause=0.05))

    async def main() -> Answer:
        await run_async(one.flow(5.0))
        await asyncio.sleep(0.06)
        service.error, service.seconds = None, 30.0
        probe = asyncio.create_task(run_async(one.flow()))
        await asyncio.sleep(0.01)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        service.seconds = 0.0
        return await run_async(one.flow(5.0))

    assert asyncio.run(main()).reranker == "down"


def test_over_the_budget_the_next_one_is_asked() -> None:
    paid, free = Service("paid:budget"), Fake("free")
    both = chain(paid, free, cost=Cost({"paid:budget": 0.4}, per_day=1.0))
    assert [ask(both).reranker for _ in range(4)] == ["paid:budget"] * 2 + ["free"] * 2
    assert billed_units()["paid:budget"] == 2.0
    assert "policy.cost.per_day" in ask(both).failed["paid:budget"]


def test_a_budget_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"policy\.cost\.prices: .*'paid'"):
        chain(Service("paid"), cost=Cost(per_day=1.0))
    chain(Fake("free"), cost=Cost(per_day=1.0))


def test_each_is_closed() -> None:
    services = Service("a"), Service("b")
    run(chain(services[0], Fake(), services[1]).chain.closing())
    assert all(service.closed for service in services)


@pytest.mark.parametrize(
    "wrong", [[], ["none"], [Fake], [object()], "text"], ids=["empty", "name", "class", "what", "s"]
)
def test_what_is_no_reranker_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^reranker: "):
        Chain(wrong)


def answers(*values: float | None) -> Callable[..., Scores]:
    return lambda *_, **__: Scores.from_relevance(list(values))


def test_no_score_at_all_is_a_failure() -> None:
    silent = Fake("silent")
    silent.score = answers(*[None] * 50)  # type: ignore[method-assign]
    answer = ask(chain(silent, Fake("second")))
    assert answer.reranker == "second"
