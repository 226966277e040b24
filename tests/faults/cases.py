"""The fault matrix as data: each client, each fault, and what policy makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.server import BEHAVIOURS, FaultServer, fault_server
from vecdb_rerank import CohereReranker, HttpReranker, Policy
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.model import Candidate, Ranking, Scores
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.protocols import AnyReranker, BaseReranker, FirstPass, Vector
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.rerankers.remote import RemoteReranker
from vecdb_rerank.rerankers.wire_formats import FormatName
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.text_fields import TextFields

SECRET = "the-secret-key"  # of nothing
RETRIES = 2
COUNT = 5
TEXTS = [f"number {n} of the five" for n in range(COUNT)]
LATE = {"hang before headers", "drip", "headers, then stall"}


@dataclass(frozen=True)
class Expected:
    """The requests that policy allows, and what the reason must say; None: reranked."""

    requests: int
    reason: str | None
    deadline: float = 3.0


TRIED = RETRIES + 1
HALVES = 2  # a server that fails both is at fault itself
HALVED = 5  # all documents, both halves, and two single documents
EXPECTED = {
    "ok": Expected(1, None),
    "slow": Expected(1, None),
    "fails twice, recovers": Expected(3, None),
    "429": Expected(TRIED, "answered 429: oops"),
    "429, Retry-After: 0": Expected(TRIED, "answered 429: oops"),
    "429, Retry-After: 3600": Expected(1, "answered 429: oops"),
    "429, Retry-After: a date": Expected(1, "answered 429: oops"),
    "500": Expected(TRIED + HALVES, "answered 500: oops"),
    "502 HTML": Expected(TRIED + HALVES, "answered 502"),
    "503": Expected(TRIED, "answered 503: oops"),
    "503 HTML": Expected(TRIED, "answered 503"),
    "400": Expected(HALVED, "answered 400: oops"),
    "401": Expected(1, "answered 401 (check reranker.api_key): oops"),
    "403": Expected(1, "answered 403 (check reranker.api_key): oops"),
    "404": Expected(1, "answered 404 (check the url, the format and the model): oops"),
    "413": Expected(HALVED, "answered 413 (lower batch_size, batch_tokens or"),
    "422": Expected(HALVED, "answered 422: oops"),
    "redirect": Expected(1, "answered 307 (a redirect: set the final url): oops"),
    "refused": Expected(0, "cannot be reached (ConnectError"),
    "reset mid-body": Expected(TRIED, "cannot be reached (ReadError"),
    "cut short": Expected(TRIED, "cannot be reached (RemoteProtocolError"),
    "hang before headers": Expected(1, "did not answer in time", 0.3),
    "drip": Expected(1, "did not answer in time", 0.3),
    "headers, then stall": Expected(1, "did not answer in time", 0.3),
    "truncated JSON": Expected(1, "not JSON"),
    "wrong content type": Expected(1, "not JSON"),
    "duplicate index": Expected(1, "index 4 twice"),
    "index out of range": Expected(1, "index 99 for 5 documents"),
    "no index": Expected(1, "has no index"),
    "too few results": Expected(1, "4 scores for 5 documents"),
    "no results": Expected(1, "0 scores for 5 documents"),
    "NaN": Expected(1, "no finite"),
    "text for a score": Expected(1, "no finite"),
    "tls, unknown authority": Expected(0, "no secure connection"),
    "no tls": Expected(0, "no secure connection"),
}
assert EXPECTED.keys() == BEHAVIOURS.keys()

Client = Callable[..., RemoteReranker]


def http(format: FormatName) -> Client:
    """The client of a wire format."""
    return lambda url, **options: HttpReranker(url, format=format, model="m", **options)


# Of each shape one: results in an object, under another key, in a bare list; plain documents, and
# objects. What each format sends and reads is in tests/rerankers.
SHAPES: tuple[FormatName, ...] = ("cohere", "voyage", "tei", "nim")
CLIENTS: dict[str, Client] = {
    "cohere SDK": lambda url, **options: CohereReranker(base_url=url, **options),
    **{f"http {name}": http(name) for name in SHAPES},
}
APIS = ("sync", "async")


class Shelf:
    """A database whose every first pass are the same hits."""

    name = "shelf"

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[list[int]]]:
        response = yield Call(lambda: list(range(COUNT)))
        return FirstPass(response)

    def candidates(
        self, first: FirstPass[list[int]], text_fields: TextFields
    ) -> Sequence[Candidate]:
        return [Candidate(n, n, TEXTS[n], 1.0 - n / 10) for n in first.response]

    def rebuild(self, first: FirstPass[list[int]], ranking: Ranking) -> list[int]:
        return [first.response[hit.candidate.position] for hit in ranking.hits]

    def describe_error(self, error: Exception) -> str:
        return str(error)


@dataclass
class Found:
    """What a search came to."""

    ids: list[int]
    outcome: Outcome
    seconds: float


def search(
    rerankers: AnyReranker | Sequence[AnyReranker] | Chain,
    api: str,
    deadline: float,
    **rules: Any,
) -> Found:
    """One search under ``deadline``, and the rerankers closed after it."""
    policy = Policy(deadline=deadline, blend=Blend("replace"), **rules)
    if isinstance(rerankers, Chain):
        chain = rerankers
    else:
        chain = Chain(rerankers if isinstance(rerankers, Sequence) else [rerankers])
    pipeline = Pipeline(chain, None, TextFields(("text",)), policy)

    def flow() -> Flow[Found]:
        asked = Search("number five", 50, 50, 0, "bm25", 50, Fusion())
        started = time.monotonic()
        completed = yield from pipeline.search(Shelf(), asked)
        seconds = time.monotonic() - started
        yield from chain.closing()
        return Found(deliver(completed, policy), completed.outcome, seconds)

    return run(flow()) if api == "sync" else asyncio.run(run_async(flow()))


def score(
    reranker: BaseReranker, texts: Sequence[str] = TEXTS, api: str = "sync", seconds: float = 5
) -> Scores:
    """The scores of ``texts``, and the reranker closed after it."""

    def flow() -> Flow[Scores]:
        try:
            return (yield from reranker.steps("q", texts, deadline=Deadline.after(seconds)))
        finally:
            yield from reranker.closing()

    return run(flow()) if api == "sync" else asyncio.run(run_async(flow()))


@dataclass
class Seen:
    """A cell of the matrix."""

    found: Found
    server: FaultServer


def see(fault: str, client: str, api: str, **options: Any) -> Seen:
    """Search once, by ``client``, a server with this ``fault``."""
    with fault_server(fault) as server:
        given: dict[str, Any] = {"retries": RETRIES, "api_key": SECRET, **options}
        reranker = CLIENTS[client](server.url, **given)
        return Seen(search(reranker, api, EXPECTED[fault].deadline), server)
