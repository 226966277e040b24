"""Every client against every fault: nothing is lost or late, and no server is called too often."""

from __future__ import annotations

import pytest

from tests.faults.cases import APIS, CLIENTS, COUNT, EXPECTED, LATE, SECRET, see


@pytest.mark.timeout(10)  # a pause that a server asks for may be an hour
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_costs_quality_and_never_results(
    fault: str, client: str, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = EXPECTED[fault]
    with caplog.at_level("DEBUG"):
        seen = see(fault, client, api)
    found, outcome = seen.found, seen.found.outcome
    first_pass = list(range(COUNT))
    assert found.ids == (first_pass if expected.reason else first_pass[::-1])
    assert found.seconds < expected.deadline + 0.5
    assert len(seen.server.requests) == expected.requests
    assert SECRET not in caplog.text
    if expected.reason is None:
        assert (outcome.status, outcome.scored) == ("reranked", COUNT)
        return
    reason = str(outcome.reason)
    assert outcome.status == "fell_back"
    assert expected.reason in reason
    assert "127.0.0.1" in reason
    assert "\n" not in reason
    assert "<html>" not in reason
    assert SECRET not in reason + repr(outcome)
    if "tls" in fault:
        assert seen.server.connections == 1  # what stays so is not tried again
    if fault in LATE:
        assert found.seconds >= expected.deadline - 0.01
