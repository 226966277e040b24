"""Requests that a server refuses: split, learned from, and never held against the service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults import server as faults
from tests.faults.cases import APIS, CLIENTS, SECRET, score, search
from tests.faults.server import FaultServer, fault_server
from vecdb_rerank import Deadline, HttpReranker
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.ledger import Ledger

both_apis = pytest.mark.parametrize("api", APIS)
every_client = pytest.mark.parametrize("client", CLIENTS)
POISON = "the document that no server takes"
Refuses = Callable[[list[str]], str | None]


@contextmanager
def picky_server(refuses: Refuses) -> Iterator[FaultServer]:
    """Serve requests unless ``refuses`` returns the status to refuse their documents with."""

    def behave(server: FaultServer, connection: faults.Connection, body: faults.Json) -> None:
        status = refuses(sizes_of(body))
        behaviour = faults._ok if status is None else faults._status(status)
        behaviour(server, connection, body)

    faults.BEHAVIOURS["picky"] = behave
    try:
        with fault_server("picky") as server:
            yield server
    finally:
        del faults.BEHAVIOURS["picky"]


def sizes_of(body: faults.Json) -> list[str]:
    return faults.documents_of(body)


def sizes(server: FaultServer) -> list[int]:
    return [len(sizes_of(body)) for body in server.requests]


def most_extra(documents: int) -> int:
    return 2 * math.ceil(math.log2(documents))


def texts(count: int, poisoned: int | None = None) -> list[str]:
    return [POISON if n == poisoned else f"document number {n}" for n in range(count)]


def over(limit: int, status: str = "400 Bad Request") -> Refuses:
    return lambda documents: status if len(documents) > limit else None


def poisoned(status: str) -> Refuses:
    return lambda documents: status if POISON in documents else None


@both_apis
@pytest.mark.parametrize("client", [name for name in CLIENTS if "tei" not in name])
def test_a_limit_on_documents_is_found_and_learned(client: str, api: str) -> None:
    with picky_server(over(64)) as server:
        one = CLIENTS[client](server.url, api_key=SECRET)
        first = score(one, texts(100), api)
        assert None not in first.raw
        assert sizes(server) == [100, 50, 50]
        second = score(one, texts(100), api)
        assert None not in second.raw
        assert sizes(server)[3:] == [50, 50]
    for notes in (first.notes, second.notes):
        assert "batch_size" in notes["request_limit"]


@pytest.mark.parametrize("limit", [64, 33, 20, 10, 3, 1])
@pytest.mark.parametrize("status", ["400 Bad Request", "413 Too Large", "422 Wrong", "500 Oops"])
def test_a_small_limit_costs_one_search_a_few_requests(limit: int, status: str) -> None:
    with picky_server(over(limit, status)) as server:
        one = HttpReranker(server.url, model="m", retries=0)
        if status.startswith("5") and limit < 50:  # which looks like a server that is down
            with pytest.raises(RerankError):
                one.score("q", texts(100), deadline=Deadline.after(5))
            assert len(server.requests) == 3
        else:
            first = one.score("q", texts(100), deadline=Deadline.after(5))
            assert len(server.requests) <= 1 + most_extra(100)
            assert any(score is not None for score in first.raw)
            before = len(server.requests)
            second = one.score("q", texts(100), deadline=Deadline.after(5))
            assert None not in second.raw
            assert max(sizes(server)[before:]) <= limit
        run(one.closing())


def test_a_limit_on_tokens_is_kept_and_may_be_set() -> None:
    long = ["word " * 8_000] * 35  # 10,000 tokens each

    def refuses(documents: list[str]) -> str | None:
        tokens = sum(estimated_tokens(text) for text in documents)
        return "400 Bad Request" if tokens > 300_000 else None

    for batch_tokens, most in ((None, 29), (50_000, 4)):
        with picky_server(refuses) as server:
            one = HttpReranker(server.url, format="voyage", model="m", batch_tokens=batch_tokens)
            assert None not in score(one, long).raw
            assert max(sizes(server)) == most


def test_a_limit_on_tokens_is_learned() -> None:
    mixed = ["word " * 2_000] * 8 + texts(56)

    def refuses(documents: list[str]) -> str | None:
        return "413 Too Large" if sum(map(len, documents)) > 45_000 else None

    with picky_server(refuses) as server:
        one = HttpReranker(server.url, model="m")
        assert None not in score(one, mixed).raw
        before = len(server.requests)
        again = score(one, mixed)
        assert None not in again.raw
        assert len(server.requests) - before < before
    assert "request_limit" in again.notes


@both_apis
@every_client
@pytest.mark.parametrize("status", ["400 Bad Request", "422 Wrong", "500 Oops", "502 Bad Gateway"])
@pytest.mark.parametrize("place", [0, 29])
def test_the_one_document_that_is_refused_stays_unscored(
    place: int, status: str, client: str, api: str
) -> None:
    with picky_server(poisoned(status)) as server:
        one = CLIENTS[client](server.url, api_key=SECRET, retries=0)
        scores = score(one, texts(30, place), api)
    assert [n for n, raw in enumerate(scores.raw) if raw is None] == [place]
    assert len(server.requests) <= 1 + most_extra(30)
    assert set(scores.notes) == {"documents_refused"}


@pytest.mark.parametrize("status", ["413 Too Large", "500 Oops"])
def test_one_refused_document_never_counts_for_the_breaker(status: str) -> None:
    with picky_server(lambda docs: status if "number 3 of the five" in docs else None) as server:
        one = HttpReranker(server.url, model="m", retries=0)
        chain, breaker = Chain([one]), Breaker(failures=1, pause=60.0)
        found = [search(chain, "sync", 3.0, breaker=breaker) for _ in range(4)]
    assert {each.outcome.scored for each in found} == {4}


@pytest.mark.parametrize("status", ["401 Who", "403 No", "404 Where", "503 Busy", "429 Busy"])
def test_other_refusals_are_never_split(status: str) -> None:
    with picky_server(poisoned(status)) as server:
        one = HttpReranker(server.url, model="m", retries=0)
        with pytest.raises(ServiceError):
            score(one, texts(30, 3))
    assert sizes(server) == [30]


def test_a_listwise_service_is_never_split() -> None:
    with picky_server(over(19)) as server, pytest.raises(ServiceError):
        score(HttpReranker(server.url, model="m", listwise=True, batch_size=20), texts(30))
    assert sizes(server) == [20]
    with picky_server(over(20)) as server:
        scores = score(HttpReranker(server.url, model="m", listwise=True, batch_size=20), texts(30))
    assert sizes(server) == [20]
    assert [raw is None for raw in scores.raw] == [False] * 20 + [True] * 10


def test_a_server_that_refuses_everything_is_soon_asked_once_a_search() -> None:
    with picky_server(over(0)) as server:
        one = HttpReranker(server.url, model="m")
        chain, breaker = Chain([one]), Breaker(failures=1)
        for _ in range(4):
            assert search(chain, "sync", 3.0, breaker=breaker).outcome.status == "fell_back"
    assert sizes(server)[-3:] == [5, 5, 5]
    assert len(server.requests) <= 4 + most_extra(5)


def test_splitting_ends_at_the_deadline() -> None:
    def behave(documents: list[str]) -> str | None:
        time.sleep(0.1)
        return poisoned("400 Bad Request")(documents)

    with picky_server(behave) as server:
        one = HttpReranker(server.url, model="m")
        scores = score(one, texts(64, 0), seconds=0.55)
        assert 2 <= len(server.requests) <= 6
    assert None in scores.raw


def test_splitting_ends_with_the_budget() -> None:
    ledger = Ledger()
    with picky_server(poisoned("400 Bad Request")) as server:
        one = HttpReranker(server.url, model="m")
        with ledger.bill(one.name, 1.0, Cost({one.name: 1.0}, per_day=2.0)):
            scores = score(one, texts(64, 0))
    assert sum(raw is not None for raw in scores.raw) == 48  # a half and a quarter: two units
    assert "documents_unsent" in scores.notes


def test_splitting_costs_no_more_where_tokens_are_billed() -> None:
    ledger = Ledger()
    with picky_server(poisoned("400 Bad Request")) as server:
        one = HttpReranker(server.url, model="m", format="jina")
        units = one.predicted_units("q", texts(64, 0))
        with ledger.bill(one.name, units, Cost({one.name: 1.0}, per_day=units)):
            scores = score(one, texts(64, 0))
    assert [n for n, raw in enumerate(scores.raw) if raw is None] == [0]


def test_refusals_that_take_all_the_time_are_learned_from() -> None:
    def slow(documents: list[str]) -> str | None:
        time.sleep(0.2)
        return over(8)(documents)

    with picky_server(slow) as server:
        reranker = HttpReranker(server.url, model="m", retries=0)
        for _ in range(2):
            with pytest.raises(RerankError):
                reranker.score("q", texts(64), deadline=Deadline.after(0.3))
        scores = reranker.score("q", texts(64), deadline=Deadline.after(5.0))
        run(reranker.closing())
        assert None not in scores.raw
        assert max(sizes(server)[-8:]) <= 16
