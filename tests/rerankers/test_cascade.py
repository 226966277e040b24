"""A cascade: the strong reranker's documents first, then the others in the cheap one's order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError, RerankError, RerankTimeoutError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow, Wait
from vecdb_rerank.model import Scores, sigmoid
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.cascade import CascadeReranker, by_score
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.checks import check_scores

DOCUMENTS = [f"document {n}" for n in range(8)]


class Known(BaseReranker):
    """Has logits for some documents, and records the documents of each call."""

    keeps_deadline = True
    name = ""

    def __init__(
        self,
        name: str,
        logits: Mapping[str, float | None],
        error: Exception | None = None,
        *,
        billed: float = 0.0,
        truncated: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.logits = logits
        self.error = error
        self.billed = billed
        self.truncated = truncated
        self.seconds = seconds
        self.asked: list[list[str]] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.asked.append(list(documents))
        time.sleep(min(self.seconds, deadline.remaining()))
        if deadline.expired:
            raise RerankTimeoutError(f"{self.name} was late")
        if self.error is not None:
            raise self.error
        logits = [self.logits.get(text) for text in documents]
        return Scores.from_logits(logits, truncated=self.truncated, billed=self.billed)


class Service(Known):
    """A remote reranker that bills."""

    local = False
    bills = True
    closed = False

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        yield Wait(0)
        return Known.score(self, query, documents, deadline=deadline)

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        return float(len(documents))

    def closing(self) -> Flow[None]:
        yield Wait(0)
        self.closed = True


def falling(name: str = "cheap", **more: Any) -> Known:
    """Return a reranker that prefers the first documents."""
    return Known(name, {text: -float(n) for n, text in enumerate(DOCUMENTS)}, **more)


def ascending(name: str = "strong", kind: type[Known] = Known, **more: Any) -> Known:
    """Return a reranker that prefers the last documents."""
    return kind(name, {text: n / 2 - 3 for n, text in enumerate(DOCUMENTS)}, **more)


def score(cascade: CascadeReranker, seconds: float | None = None) -> Scores:
    return cascade.score("q", DOCUMENTS, deadline=Deadline.after(seconds))


def order(scores: Scores) -> list[int]:
    return by_score(scores)


def test_the_best_are_rescored_and_come_first() -> None:
    cheap, strong = falling(), ascending()
    scores = score(CascadeReranker(cheap, strong, best=3))
    assert order(scores) == [2, 1, 0, 3, 4, 5, 6, 7]
    assert cheap.asked == [DOCUMENTS]
    assert strong.asked == [DOCUMENTS[:3]]


def test_rescored_documents_keep_their_relevance_and_limit_the_rest() -> None:
    scores = score(CascadeReranker(falling(), ascending(), best=3))
    assert list(scores.relevance[:3]) == pytest.approx([sigmoid(x) for x in (-3.0, -2.5, -2.0)])
    # The cheap relevance of the fourth is limited to the lowest one before it.
    assert list(scores.relevance[3:]) == pytest.approx([sigmoid(-n) for n in (3, 4, 5, 6, 7)])
    generous = Known("cheap", {text: 5.0 - n for n, text in enumerate(DOCUMENTS)})
    scores = score(CascadeReranker(generous, ascending(), best=3))
    assert list(scores.relevance[3:]) == pytest.approx([sigmoid(-3.0)] * 5)


def test_relevance_is_that_of_the_common_scale() -> None:
    strong = ascending()
    strong.calibration = Calibration(0.5, -1.0)
    scores = score(CascadeReranker(falling(), strong, best=1))
    assert scores.relevance[0] == pytest.approx(sigmoid(-3.0 * 0.5 - 1.0))
    assert scores.raw[0] == -3.0


_logits = st.one_of(st.none(), st.integers(-5, 5).map(float), st.floats(-30, 30))


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[float | None], list[float | None], int]:
    count = draw(st.integers(1, 12))
    cheap = draw(st.lists(_logits, min_size=count, max_size=count).filter(any_known))
    strong = draw(st.lists(_logits, min_size=count, max_size=count))
    return cheap, strong, draw(st.integers(1, 14))


def any_known(logits: Sequence[float | None]) -> bool:
    return any(logit is not None for logit in logits)


@settings(deadline=None)
@given(_worlds())
def test_the_list_is_consistent_for_any_scores(
    world: tuple[list[float | None], list[float | None], int],
) -> None:
    cheap_logits, strong_logits, best = world
    documents = [f"d{n}" for n in range(len(cheap_logits))]
    cheap = Known("cheap", dict(zip(documents, cheap_logits, strict=True)))
    strong = Known("strong", dict(zip(documents, strong_logits, strict=True)))
    cascade = CascadeReranker(cheap, strong, best=best)
    scores = check_scores(cascade.score("q", documents, deadline=Deadline()))

    cheap_order = by_score(Scores.from_logits(cheap_logits))
    assert cheap.asked == [documents]
    assert strong.asked == [[documents[n] for n in cheap_order[:best]]]
    read = [n for n in sorted(cheap_order[:best]) if strong_logits[n] is not None]
    if not read:  # the strong one scored nothing
        assert list(scores.raw) == cheap_logits
        assert list(scores.failed) == ["strong"]
        return
    rest = [n for n in cheap_order if n not in read]
    expected = sorted(read, key=lambda n: -float(strong_logits[n] or 0.0)) + rest
    assert order(scores) == expected
    assert sum(raw is not None for raw in scores.raw) == len(cheap_order)  # none lost, none new
    assert [scores.raw[n] for n in read] == [strong_logits[n] for n in read]
    relevance = [r for n in expected if (r := scores.relevance[n]) is not None]
    assert relevance == sorted(relevance, reverse=True)
    for n in rest:
        assert (scores.relevance[n] or 0.0) <= sigmoid(cheap_logits[n] or 0.0)
    assert not scores.failed


@pytest.mark.parametrize("kind", [Known, Service])
def test_the_cheap_scores_count_if_the_strong_one_fails(
    kind: type[Known], caplog: pytest.LogCaptureFixture
) -> None:
    alone = falling().score("q", DOCUMENTS, deadline=Deadline())
    cascade = CascadeReranker(falling(), ascending(kind=kind, error=RerankError("503")), best=3)
    for scores in (
        score(cascade),
        asyncio.run(run_async(cascade.steps("q", DOCUMENTS, deadline=Deadline()))),
    ):
        assert (scores.raw, scores.relevance) == (alone.raw, alone.relevance)
        assert scores.failed == {"strong": "503"}
    assert {r.getMessage() for r in caplog.records} == {"reranking with strong failed: 503"}
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_invalid_scores_of_the_strong_one_do_not_count() -> None:
    scores = score(CascadeReranker(falling(), Known("strong", {DOCUMENTS[0]: float("nan")})))
    assert order(scores) == list(range(8))
    assert "not a finite number" in scores.failed["strong"]


def test_the_cheap_scores_are_on_time_if_the_strong_one_is_late() -> None:
    started = time.monotonic()
    scores = score(CascadeReranker(falling(), ascending(seconds=30.0)), 0.3)
    assert time.monotonic() - started < 5.0
    assert order(scores) == list(range(8))
    assert "late" in scores.failed["strong"]


def test_the_cheap_one_leaves_the_strong_one_time() -> None:
    class Slow(Known):
        """Uses all its time and scores the first half."""

        def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
            time.sleep(deadline.remaining())
            half: list[float | None] = [-float(n) for n in range(4)]
            return Scores.from_logits(half + [None] * 4)

    scores = score(CascadeReranker(Slow("slow", {}), ascending(), best=2), 0.5)
    assert order(scores) == [1, 0, 2, 3]
    assert list(scores.raw[4:]) == [None] * 4


@pytest.mark.parametrize("late", [False, True])
def test_the_first_documents_are_rescored_if_the_cheap_one_fails(late: bool) -> None:
    cheap = falling(seconds=30.0) if late else falling(error=RerankError("gone"))
    strong = ascending()
    scores = score(CascadeReranker(cheap, strong, best=3), 1.0)
    assert strong.asked == [DOCUMENTS[:3]]
    assert order(scores) == [2, 1, 0]
    assert list(scores.raw) == [-3.0, -2.5, -2.0] + [None] * 5
    assert list(scores.failed) == ["cheap"]
    assert ("late" if late else "gone") in scores.failed["cheap"]


def test_a_chain_continues_if_both_fail() -> None:
    gone = RerankError("gone")
    gone.billed = 1.0
    cascade = CascadeReranker(falling(error=gone), ascending(error=RerankError("503")))
    with pytest.raises(RerankError, match="gone"):
        score(cascade)
    chain = Chain([cascade, ascending("other")])
    answer = run(chain.ask("q", DOCUMENTS, Deadline.after(5.0), Policy()))
    assert (answer.reranker, answer.failed) == ("other", {"cascade:cheap>strong": "gone"})
    assert answer.billed == {"cascade:cheap>strong": 1.0}


def test_nothing_is_scored_after_the_deadline() -> None:
    scores = score(CascadeReranker(falling(seconds=9.0), ascending(seconds=9.0)), 0.1)
    assert list(scores.raw) == list(scores.relevance) == [None] * 8
    assert list(scores.failed) == ["cheap", "strong"]


def test_a_strong_one_that_keeps_failing_is_skipped() -> None:
    strong = ascending(error=RerankError("503"))
    cascade = CascadeReranker(falling(), strong)
    for _ in range(Breaker().failures + 3):
        scores = score(cascade, 5.0)
    assert len(strong.asked) == Breaker().failures
    assert "paused" in scores.failed["strong"]


@pytest.mark.parametrize("error", [None, RerankError("503")])
def test_billed_units_are_added_and_recorded_once(error: RerankError | None) -> None:
    if error is not None:
        error.billed = 2.0
    strong = ascending(kind=Service, error=error, billed=2.0)
    cascade = CascadeReranker(falling(billed=1.0), strong, best=3)
    assert cascade.predicted_units("q", DOCUMENTS) == 3.0
    answer = run(Chain([cascade]).ask("q", DOCUMENTS, Deadline.after(5.0), Policy()))
    assert answer.billed == {"cascade:cheap>strong": 3.0}
    assert answer.failed == ({} if error is None else {"strong": "503"})


def test_local_rerankers_bill_nothing() -> None:
    assert not CascadeReranker(falling(), ascending()).bills


def test_truncated_documents_are_counted_once() -> None:
    cascade = CascadeReranker(falling(truncated=5), ascending(truncated=2), best=3)
    assert score(cascade).truncated == 5


def test_a_cascade_may_be_part_of_another() -> None:
    inner = CascadeReranker(ascending("middle"), falling("best"), best=2)
    scores = score(CascadeReranker(falling(), inner, best=4))
    assert order(scores) == [2, 3, 1, 0, 4, 5, 6, 7]
    broken = CascadeReranker(ascending("middle"), falling("best", error=RerankError("x")), best=2)
    assert score(CascadeReranker(falling(), broken, best=4)).failed == {"best": "x"}


def test_it_closes_both() -> None:
    first, then = (ascending(name, kind=Service) for name in ("a", "b"))
    run(CascadeReranker(first, then).closing())
    assert isinstance(first, Service)
    assert isinstance(then, Service)
    assert first.closed
    assert then.closed


def test_best_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match=r"^best: "):
        CascadeReranker(falling(), ascending(), best=0)
