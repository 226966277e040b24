"""A policy given at a call wins over that of the connector or client, in every field."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.after import Pin
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.passages import Passages
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector, RerankingQdrantClient

QUERY = "what does ERR_4032 mean"
TEXTS = [
    "A note on errors. " + "Filler words of no interest follow each other here. " * 12,
    "ERR_4032 means that the disk is full.",
    *(f"Something else, number {n}." for n in range(10)),
]
DOCS = Path(__file__).parents[2] / "docs" / "drop_in.md"


class Knob(BaseReranker):
    """Scores ERR_4032 last; delays, fails and bills as the test sets."""

    name = "knob"
    local = False
    bills = True

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.seconds = 0.0
        self.sent: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.sent = list(documents)
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Scores.from_relevance(
            [0.1 if "ERR_4032" in text else 0.4 for text in documents], billed=2.0
        )

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        return 2.0


@dataclass
class Surface:
    """A connector or a drop-in client, made under one policy and called under another."""

    kind: str
    knob: Knob
    search: Callable[[Policy], Any]

    def outcome(self, policy: Policy) -> Outcome:
        with observe() as outcomes:
            self.search(policy)
        return outcomes[-1]

    def ids(self, policy: Policy) -> list[Any]:
        return [point.id for point in self.search(policy).points]


@pytest.fixture(params=["connector", "drop-in"])
def made(request: pytest.FixtureRequest) -> Iterator[Callable[[Policy], Surface]]:
    """Makes a surface under a policy."""
    client = QdrantClient(":memory:")
    embedder = HashEmbedder()
    QdrantConnector(client, "c", embedder=embedder, reranker=None).create()
    QdrantConnector(client, "c", embedder=embedder, reranker=None).add(
        [{"id": n, "text": text} for n, text in enumerate(TEXTS)]
    )

    def make(policy: Policy) -> Surface:
        knob = Knob()
        if request.param == "connector":
            connector = QdrantConnector(
                client, "c", embedder=embedder, reranker=knob, policy=policy
            )
            return Surface(
                "connector", knob, lambda call: connector.search(QUERY, limit=12, rerank=call)
            )
        wrapped = RerankingQdrantClient(client, knob, policy=policy)
        vector = embedder.embed_query(QUERY)

        def search(call: Policy) -> models.QueryResponse:
            return wrapped.query_points(
                "c", vector, using="dense", limit=12, rerank_query=QUERY, rerank=call
            )

        return Surface("drop-in", knob, search)

    yield make
    client.close()


Make = Callable[[Policy], Surface]
PLAIN = Policy(blend=Blend("replace"))


def changed(**fields: Any) -> Policy:
    return dataclasses.replace(PLAIN, **fields)


def deadline(make: Make) -> None:
    surface = make(PLAIN)
    surface.knob.seconds = 0.5
    assert surface.outcome(changed(deadline=0.25)).status == "fell_back"
    surface = make(changed(deadline=0.25))
    surface.knob.seconds = 0.5
    assert surface.outcome(PLAIN).status == "reranked"


def on_error(make: Make) -> None:
    for at_start, at_call in (("raise", "fallback"), ("fallback", "raise")):
        surface = make(changed(on_error=at_start))
        surface.knob.error = RerankError("503")
        if at_call == "raise":
            with pytest.raises(RerankError):
                surface.search(changed(on_error=at_call))
        else:
            assert surface.outcome(changed(on_error=at_call)).status == "fell_back"


def min_relevance(make: Make) -> None:
    assert len(make(PLAIN).ids(changed(min_relevance=0.3))) == 11
    assert len(make(changed(min_relevance=0.3)).ids(PLAIN)) == 12


def calibration(make: Make) -> None:
    fitted = changed(calibration={"knob": Calibration(intercept=5.0)})
    assert max(make(PLAIN).outcome(fitted).relevance.values()) > 0.9
    assert max(make(fitted).outcome(PLAIN).relevance.values()) == 0.4


def blend(make: Make) -> None:
    convex = Policy(blend=Blend("convex", 0.0, feedback=0, smoothing=0))
    first = make(PLAIN).outcome(convex)
    assert "uncalibrated" in first.notes
    assert "uncalibrated" not in make(convex).outcome(PLAIN).notes


def branch_evidence(make: Make) -> None:
    weighing = Policy(blend=Blend("convex", 0.3))
    without = dataclasses.replace(weighing, branch_evidence=False)
    seen = [make(a).ids(b) for a, b in ((weighing, without), (without, without))]
    assert seen[0] == seen[1]
    assert make(without).ids(weighing) != seen[0]


def effort(make: Make) -> None:
    little = changed(effort=Effort(pairs=5))
    assert make(PLAIN).outcome(little).scored == 5
    assert make(little).outcome(PLAIN).scored == 12


def breaker(make: Make) -> None:
    surface = make(changed(breaker=Breaker(failures=1, pause=60.0)))
    surface.knob.error = RerankError("503")
    surface.search(changed(breaker=Breaker(failures=1, pause=60.0)))
    surface.knob.error = None
    assert surface.outcome(changed(breaker=Breaker(failures=1, pause=60.0))).scored == 0
    assert surface.outcome(changed(breaker=None)).scored == 12  # asks although it is open


def cost(make: Make) -> None:
    priced = changed(cost=Cost({"knob": 0.5}))
    assert make(PLAIN).outcome(priced).cost == 1.0
    assert make(priced).outcome(PLAIN).cost == 0.0
    spent = changed(cost=Cost({"knob": 1.0}, per_day=0.0))
    assert make(PLAIN).outcome(spent).scored == 0


def skip(make: Make) -> None:
    skipping = changed(skip=Skip(few=100))
    assert make(PLAIN).outcome(skipping).status == "skipped"
    assert make(skipping).outcome(PLAIN).status == "reranked"


def exact_terms(make: Make) -> None:
    guarding = changed(exact_terms=ExactTerms(floor=1, rare=0.2))
    assert make(PLAIN).ids(guarding)[0] == 1
    assert make(guarding).ids(PLAIN)[-1] == 1


def passages(make: Make) -> None:
    splitting = changed(passages=Passages(window=20, overlap=0))
    surface = make(PLAIN)
    surface.search(splitting)
    assert len(surface.knob.sent) > 12
    surface = make(splitting)
    surface.search(PLAIN)
    assert len(surface.knob.sent) == 12


def after(make: Make) -> None:
    pinning = changed(after=(Pin((1,)),))
    assert make(PLAIN).ids(pinning)[0] == 1
    assert make(pinning).ids(PLAIN)[-1] == 1


def record_query(make: Make) -> None:
    records: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Handler()
    log = logging.getLogger("vecdb_rerank")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        for at_start in (True, False):
            records.clear()
            make(changed(record_query=at_start)).search(changed(record_query=not at_start))
            recorded = QUERY in str([record.__dict__ for record in records])
            assert recorded is not at_start
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def on_outcome(make: Make) -> None:
    at_start: list[Outcome] = []
    at_call: list[Outcome] = []
    make(changed(on_outcome=at_start.append)).search(changed(on_outcome=at_call.append))
    assert (len(at_start), len(at_call)) == (0, 1)


CASES: dict[str, Callable[[Make], None]] = {
    case.__name__: case
    for case in (
        deadline,
        on_error,
        min_relevance,
        calibration,
        blend,
        branch_evidence,
        effort,
        breaker,
        cost,
        skip,
        exact_terms,
        passages,
        after,
        record_query,
        on_outcome,
    )
}


def exceptions() -> set[tuple[str, str]]:
    """The rows of the documented table: field, and where the one given at a call has no effect."""
    _, _, table = DOCS.read_text(encoding="utf-8").partition("<!-- policy exceptions -->")
    rows = re.findall(r"^\| `(\w+)` \| ([\w -]+) \|", table.partition("\n\n")[0], re.MULTILINE)
    return {(name, where.strip()) for name, where in rows}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Policy)])
def test_the_policy_given_at_a_call_wins(name: str, made: Make) -> None:
    if (name, made(PLAIN).kind) in exceptions():
        with pytest.raises(AssertionError):
            CASES[name](made)
    else:
        CASES[name](made)


def test_the_exceptions_name_fields_of_a_policy() -> None:
    fields = {field.name for field in dataclasses.fields(Policy)}
    assert exceptions() >= {("branch_evidence", "drop-in"), ("on_error", "batch")}
    assert {name for name, _ in exceptions()} <= fields


def test_in_a_batch_a_failed_search_falls_back_whatever_the_policy_says() -> None:
    client = QdrantClient(":memory:")
    embedder = HashEmbedder()
    connector = QdrantConnector(client, "c", embedder=embedder, reranker=None)
    connector.create()
    connector.add([{"id": n, "text": text} for n, text in enumerate(TEXTS)])
    knob = Knob()
    knob.error = RerankError("503")
    wrapped = RerankingQdrantClient(client, knob)
    request = models.QueryRequest(query=embedder.embed_query(QUERY), using="dense", limit=3)
    with observe() as outcomes:
        wrapped.query_batch_points(
            "c", [request] * 2, rerank_query=QUERY, rerank=changed(on_error="raise")
        )
    assert [outcome.status for outcome in outcomes] == ["fell_back"] * 2
    client.close()
