"""What a failing embedding service costs: an error in time, after the retries that may help."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.cases import APIS, EXPECTED, RETRIES, SECRET
from tests.faults.server import fault_server
from vecdb_rerank import Deadline, EmbedderError, EmbedderTimeoutError, OpenAIEmbedder
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.protocols import Vector

ONCE = ("400", "401", "403", "404", "422", "redirect", "wrong content type")
AGAIN = ("429", "429, Retry-After: 0", "500", "502 HTML", "503", "503 HTML")
PATIENT = ("429, Retry-After: 3600", "429, Retry-After: a date")
LATE = ("hang before headers", "headers, then stall")
REQUESTS = {
    **dict.fromkeys((*ONCE, *PATIENT, *LATE), 1),
    **dict.fromkeys(AGAIN, RETRIES + 1),
    **dict.fromkeys(("refused", "tls, unknown authority"), 0),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", REQUESTS)
def test_a_fault_is_an_error_in_time(fault: str, api: str) -> None:
    def flow(one: OpenAIEmbedder) -> Flow[Vector]:
        try:
            deadline = Deadline.after(EXPECTED[fault].deadline)
            return (yield from one.query_steps("q", deadline=deadline))
        finally:
            yield from one.closing()

    with fault_server(fault) as server, pytest.raises(EmbedderError) as caught:
        one = OpenAIEmbedder("m", url=server.url, api_key=SECRET, retries=RETRIES)
        run(flow(one)) if api == "sync" else asyncio.run(run_async(flow(one)))
    assert len(server.requests) == REQUESTS[fault]
    assert isinstance(caught.value, EmbedderTimeoutError) == (fault in LATE)
    assert SECRET not in f"{caught.value} {caught.value.__cause__!r}"
    said = str(EXPECTED[fault].reason).replace("reranker.", "embedder.")
    assert said.partition(" (")[0] in str(caught.value)
