"""What a failing chat endpoint costs a search; faults inside rerank responses are not its own."""

from __future__ import annotations

import pytest

from tests.faults.cases import APIS, EXPECTED, RETRIES, SECRET, search
from tests.faults.server import fault_server
from vecdb_rerank import LlmReranker

ONCE = {"401", "403", "404", "redirect", "wrong content type"}
AGAIN = {"429", "429, Retry-After: 0", "500", "502 HTML", "503", "503 HTML"}
LATE = {"hang before headers", "headers, then stall"}
NEVER = {"refused", "tls, unknown authority"}
# A server that does not say what it refuses is asked once more, without a schema.
WITHOUT_SCHEMA = {"400", "413", "422"}
REQUESTS = {
    **dict.fromkeys(ONCE | LATE, 1),
    **dict.fromkeys({"429, Retry-After: 3600", "429, Retry-After: a date"}, 1),
    **dict.fromkeys(AGAIN, RETRIES + 1),
    **dict.fromkeys(NEVER, 0),
    **dict.fromkeys(WITHOUT_SCHEMA, 2),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", sorted(REQUESTS))
def test_a_fault_costs_the_rerank_alone(fault: str, api: str) -> None:
    with fault_server(fault) as server:
        one = LlmReranker(server.url, model="m", api_key=SECRET, retries=RETRIES)
        found = search(one, api, EXPECTED[fault].deadline)
        assert len(server.requests) == REQUESTS[fault]
    assert found.outcome.status == "fell_back"
    assert found.ids == [0, 1, 2, 3, 4]
    reason = str(found.outcome.reason)
    assert SECRET not in reason
    assert (fault if fault in WITHOUT_SCHEMA else str(EXPECTED[fault].reason)) in reason
