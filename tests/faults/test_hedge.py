"""Hedging: a second url is asked when the first takes longer than usual."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.cases import APIS, COUNT, SECRET, Found, search
from tests.faults.server import FaultServer, fault_server
from vecdb_rerank import ConfigurationError, HttpReranker
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow, Race, Wait
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.latency import ENOUGH

both_apis = pytest.mark.parametrize("api", APIS)


@pytest.fixture
def servers() -> Iterator[tuple[FaultServer, FaultServer]]:
    """Two servers of one service, both well."""
    with fault_server("ok") as first, fault_server("ok") as second:
        yield first, second


def warm(first: FaultServer, second: FaultServer, api: str, *, hedge: bool = True) -> Chain:
    """A chain that knows how long its service takes."""
    reranker = HttpReranker(
        [first.url, second.url], model="m", api_key=SECRET, retries=1, hedge=hedge
    )
    chain = Chain([reranker])
    for _ in range(ENOUGH):
        assert found(chain, api).outcome.status == "reranked"
    assert len(first.requests) == ENOUGH
    assert second.requests == []
    return chain


def found(chain: Chain, api: str) -> Found:
    return search(chain, api, 3.0)


def threads() -> list[threading.Thread]:
    """Ours that still run."""
    return [thread for thread in threading.enumerate() if thread.name == "vecdb-rerank"]


@pytest.mark.timing
@both_apis
@pytest.mark.parametrize("fault", ["hang before headers", "drip", "headers, then stall"])
def test_the_second_url_answers_for_one_that_hangs_and_nothing_stays_behind(
    servers: tuple[FaultServer, FaultServer], fault: str, api: str
) -> None:
    first, second = servers
    chain = warm(first, second, api)
    first.behaviour = fault
    one = found(chain, api)
    assert one.outcome.status == "reranked"
    assert one.ids == list(reversed(range(COUNT)))
    assert one.seconds < 1.0  # of 3; without hedging the first url has half of them
    assert (len(first.requests), len(second.requests)) == (ENOUGH + 1, 1)
    until = time.monotonic() + 1.0
    while threads() and time.monotonic() < until:
        time.sleep(0.01)
    assert threads() == []


@both_apis
def test_without_it_one_url_is_asked_after_the_other(
    servers: tuple[FaultServer, FaultServer], api: str
) -> None:
    first, second = servers
    chain = warm(first, second, api, hedge=False)
    first.behaviour = "hang before headers"
    one = found(chain, api)
    assert one.outcome.status == "reranked"
    assert one.seconds > 1.4


@pytest.mark.timing
@both_apis
def test_an_error_is_no_answer_while_the_other_url_may_give_one(
    servers: tuple[FaultServer, FaultServer], api: str
) -> None:
    first, second = servers
    chain = warm(first, second, api)
    first.behaviour, second.behaviour = "slow", "400"  # slower than ever, and wrong at once
    one = found(chain, api)
    assert one.outcome.status == "reranked"
    assert len(second.requests) == 1


@pytest.mark.timing
@both_apis
def test_both_may_fail(servers: tuple[FaultServer, FaultServer], api: str) -> None:
    first, second = servers
    chain = warm(first, second, api)
    first.behaviour = second.behaviour = "503"
    one = found(chain, api)
    assert one.outcome.status == "fell_back"
    assert "answered 503" in str(one.outcome.reason)
    assert sorted(one.ids) == list(range(COUNT))


def test_it_needs_a_second_url() -> None:
    with pytest.raises(ConfigurationError, match=r"^hedge: needs a second url"):
        HttpReranker("http://h", model="m", hedge=True)


# -- the step itself


def waits(seconds: float, answer: str | Exception) -> Flow[str]:
    yield Wait(seconds)
    if isinstance(answer, Exception):
        raise answer
    return answer


def race(first: Flow[str], second: Flow[str], after: float, api: str) -> str:
    def flow() -> Flow[str]:
        value: str = yield Race(lambda: first, lambda: second, after)
        return value

    return run(flow()) if api == "sync" else asyncio.run(run_async(flow()))


@pytest.mark.timing
@both_apis
def test_the_first_value_wins(api: str) -> None:
    assert race(waits(0.0, "a"), waits(0.0, "b"), 1.0, api) == "a"
    assert race(waits(0.3, "a"), waits(0.0, "b"), 0.01, api) == "b"
    assert race(waits(0.1, "a"), waits(0.4, "b"), 0.01, api) == "a"
    assert race(waits(0.1, "a"), waits(0.0, LookupError("b")), 0.01, api) == "a"
    assert race(waits(0.1, LookupError("a")), waits(0.2, "b"), 0.01, api) == "b"


@both_apis
def test_the_error_of_the_first_is_told_where_both_fail(api: str) -> None:
    with pytest.raises(LookupError, match="a"):
        race(waits(0.1, LookupError("a")), waits(0.0, LookupError("b")), 0.01, api)
    with pytest.raises(LookupError, match="a"):  # the second is not even begun
        race(waits(0.0, LookupError("a")), waits(0.0, "b"), 1.0, api)


def test_a_cancelled_race_cancels_both() -> None:
    ended = []

    def slow(name: str) -> Flow[str]:
        try:
            yield Wait(30.0)
        finally:
            ended.append(name)
        return name

    def flow() -> Flow[str]:
        value: str = yield Race(lambda: slow("a"), lambda: slow("b"), 0.01)
        return value

    async def main() -> None:
        task = asyncio.create_task(run_async(flow()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == ["a", "b"]

    asyncio.run(main())
