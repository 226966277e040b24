"""A remote reranker with a local one behind it, and what the remote one bills."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.cases import APIS, CLIENTS, COUNT, SECRET, search
from tests.faults.server import BEHAVIOURS, TOKENS, UNITS, FaultServer, fault_server
from vecdb_rerank import OnnxReranker
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.ledger import billed_units

both_apis = pytest.mark.parametrize("api", APIS)
every_client = pytest.mark.parametrize("client", CLIENTS)
BILLED = {"cohere SDK": UNITS, "http cohere": UNITS, "http tei": 0, "http nim": 0}


@pytest.fixture(scope="module", autouse=True)
def local() -> OnnxReranker:
    """The bundled model, loaded."""
    onnx = OnnxReranker()
    assert onnx.model
    return onnx


@both_apis
@pytest.mark.parametrize("client", ["http cohere", "cohere SDK"])  # both ways to keep a deadline
@pytest.mark.parametrize("fault", ["hang before headers", "drip", "503", "NaN", "refused"])
def test_the_local_model_takes_over_in_time(
    fault: str, client: str, api: str, local: OnnxReranker
) -> None:
    with fault_server(fault) as server:
        remote = CLIENTS[client](server.url, api_key=SECRET, timeout=30.0)
        found = search([remote, local], api, 1.0)
    assert found.outcome.status == "reranked"
    assert found.outcome.reranker == local.name
    assert list(found.outcome.failed) == [remote.name]
    assert found.outcome.scored == COUNT
    assert sorted(found.ids) == list(range(COUNT))
    assert found.outcome.billed == {}
    assert found.seconds < 1.05


@both_apis
def test_an_open_breaker_sends_nothing(api: str, local: OnnxReranker) -> None:
    with fault_server("503") as server:
        remote = CLIENTS["http cohere"](server.url, api_key=SECRET, retries=0)
        breaker = Breaker(failures=2, pause=60.0)
        both = Chain([remote, local])
        found = [search(both, api, 3.0, breaker=breaker) for _ in range(5)]
    assert len(server.requests) == 2
    assert {one.outcome.reranker for one in found} == {local.name}
    assert "paused" in found[-1].outcome.failed[remote.name]


@both_apis
@every_client
def test_the_outcome_says_what_was_billed(client: str, api: str) -> None:
    with fault_server("ok") as server:
        remote = CLIENTS[client](server.url, api_key=SECRET)
        before = billed_units().get(remote.name, 0.0)
        found = search(remote, api, 3.0, cost=Cost({remote.name: 0.5}, per_day=1e9))
    billed = BILLED.get(client, TOKENS)
    assert found.outcome.billed == ({remote.name: billed} if billed else {})
    assert found.outcome.cost == billed * 0.5
    assert billed_units().get(remote.name, 0.0) - before == billed


@both_apis
@pytest.mark.parametrize("client", ["cohere SDK", "http cohere", "http voyage"])
def test_no_budget_no_request(client: str, api: str, local: OnnxReranker) -> None:
    with fault_server("ok") as server:
        remote = CLIENTS[client](server.url, api_key=SECRET)
        cost = Cost({remote.name: 1.0}, per_minute=0.5)
        found = search([remote, local], api, 3.0, cost=cost)
    assert server.requests == []
    assert found.outcome.reranker == local.name
    assert "policy.cost.per_minute" in found.outcome.failed[remote.name]


@both_apis
@pytest.mark.parametrize("client", ["cohere SDK", "http cohere"])
def test_batches_that_were_answered_are_billed_though_a_later_one_fails(
    client: str, api: str, local: OnnxReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_fails(server: FaultServer, connection: Any, body: Any) -> None:
        behaviour = "ok" if len(server.requests) == 1 else "401"
        BEHAVIOURS[behaviour](server, connection, body)

    monkeypatch.setitem(BEHAVIOURS, "second fails", second_fails)
    with fault_server("second fails") as server:
        remote = CLIENTS[client](server.url, api_key=SECRET, batch_size=3)
        found = search([remote, local], api, 3.0, cost=Cost({remote.name: 1.0}))
    assert found.outcome.reranker == local.name
    assert found.outcome.billed == {remote.name: UNITS}
    assert found.outcome.cost == UNITS


@both_apis
@pytest.mark.parametrize("fault", ["hang before headers", "headers, then stall", "drip"])
@pytest.mark.parametrize("timeout", [0.05, 30.0])  # of a request, which is retried, and of none
def test_late_requests_never_go_over_the_budget(fault: str, timeout: float, api: str) -> None:
    with fault_server(fault) as server:
        remote = CLIENTS["http cohere"](server.url, api_key=SECRET, timeout=timeout)
        chain, cost = Chain([remote]), Cost({remote.name: 1.0}, per_day=2.0)
        for _ in range(5):
            assert search(chain, api, 0.2, breaker=None, cost=cost).outcome.status == "fell_back"
    assert 1 <= len(server.requests) <= 2
