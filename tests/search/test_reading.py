"""Candidates are read until the page is settled; what is not read is estimated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import BranchHit, Candidate, HitId, Ranking, Scores, sigmoid
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.after import Bury, Decay, MaxPer, Mmr, Pin, Stage
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.protocols import AnyReranker, BaseReranker, FirstPass
from vecdb_rerank.ranking.ordering import unchanged
from vecdb_rerank.request import NativeSearch
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.rerank_list import ListReranker
from vecdb_rerank.text_fields import TextFields

WORDS = "wing flow shock heat pipe valve plate jet drag lift ERR_42 spin".split()
EASY = Effort(tolerance=0.2)


@dataclass
class Reader(BaseReranker):
    """Scores texts by given logits, in batches, and counts what it reads."""

    logits: dict[str, float]
    batch: int | None = 4
    keeps_deadline: bool = True
    local: bool = True
    calibration: Calibration | None = field(default_factory=Calibration)
    name: str = "reader"
    listwise: bool = False
    fails_after: float = float("inf")
    stops_after: float = float("inf")
    calls: list[list[str]] = field(default_factory=list)

    @property
    def read(self) -> list[str]:
        return [text for call in self.calls for text in call]

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        if len(self.read) + len(documents) > self.fails_after:
            raise LookupError("gone")
        before = len(self.read)
        if before >= self.stops_after:
            raise TimeoutError
        self.calls.append(list(documents))
        return Scores.from_logits(
            [
                self.logits[text] if before + n < self.stops_after else None
                for n, text in enumerate(documents)
            ]
        )


class Listed:
    """A database whose response is a ranking."""

    name = "listed"

    def candidates(self, first: FirstPass[Ranking], _: TextFields) -> Sequence[Candidate]:
        return [hit.candidate for hit in first.response.hits]

    def rebuild(self, _: FirstPass[Ranking], ranking: Ranking) -> Ranking:
        return ranking


def window(seed: int, count: int = 40) -> tuple[list[Candidate], dict[str, float]]:
    """Return candidates, of which some share a text and some have none, and logits by text."""
    draw = random.Random(seed)
    texts = [
        "" if draw.random() < 0.05 else " ".join(draw.choices(WORDS, k=6)) for _ in range(count)
    ]
    if count > 3:
        texts[2] = texts[0]
    found = [
        Candidate(
            n, f"d{n}", text, 1.0 - n / 100, branches={"bm25": BranchHit(n + 1, draw.uniform(1, 9))}
        )
        for n, text in enumerate(texts)
    ]
    return found, {text: draw.uniform(-8, 9) for text in texts}


def searched(
    rerankers: AnyReranker | Sequence[AnyReranker],
    candidates: Sequence[Candidate],
    *,
    offset: int = 0,
    limit: int = 10,
    deadline: Deadline | None = None,
    **rules: Any,
) -> tuple[Ranking, Outcome]:
    chain = Chain([rerankers] if isinstance(rerankers, BaseReranker) else list(rerankers))  # type: ignore[arg-type]
    pipeline = Pipeline(chain, policy=Policy(**rules))
    search = NativeSearch(
        "ERR_42 wing", k=len(candidates), limit=limit, offset=offset, mode="hybrid"
    )
    with pipeline.begin("listed", search, explain=True) as started:
        started = replace(started, deadline=deadline or started.deadline)
        done = run(pipeline.rerank(Listed(), search, FirstPass(unchanged(candidates)), started))
    return done.response, done.outcome


def ids(ranking: Ranking) -> list[HitId]:
    return [hit.candidate.id for hit in ranking.hits]


def relevance_of(logit: float) -> float:
    return Calibration().relevance(sigmoid(logit))


SEEDS = st.integers(0, 10_000)
SIZES = st.integers(1, 60)
EFFORTS = st.builds(
    Effort, pairs=st.none() | st.integers(1, 60), tolerance=st.sampled_from([0.0, 0.002, 0.02, 0.2])
)
STAGES: tuple[Stage, ...] = (
    Decay("price", scale=3, weight=0.8, origin=0),
    MaxPer("brand", 2),
    Mmr(0.5),
    Pin(("d30", "d3"), place=2),
    Bury(("d0",)),
)
few = settings(max_examples=12, deadline=None)


def falling(ranking: Ranking) -> bool:
    scores = [hit.score for hit in ranking.hits]
    return scores == sorted(scores, reverse=True)


@few
@given(SEEDS, SIZES, EFFORTS, st.sampled_from(["confidence", "convex", "rrf", "replace"]))
def test_no_candidate_is_lost_or_doubled(seed: int, size: int, effort: Effort, blend: str) -> None:
    found, logits = window(seed, size)
    reader = Reader(logits)
    ranking, outcome = searched(
        reader,
        found,
        limit=size,
        effort=effort,
        blend=Blend(blend),  # type: ignore[arg-type]
    )
    assert sorted(map(str, ids(ranking))) == sorted(str(c.id) for c in found)
    assert falling(ranking)
    assert len(reader.read) == len(set(reader.read))
    assert "" not in reader.read
    assert outcome.scored + outcome.estimated + outcome.empty == outcome.seen


@few
@given(SEEDS, SIZES)
def test_full_reads_all_in_one_call_whatever_the_batch(seed: int, size: int) -> None:
    found, logits = window(seed, size)
    batched, plain = Reader(logits), Reader(logits, batch=None)
    one, outcome = searched(batched, found, limit=size, effort="full")
    assert one == searched(plain, found, limit=size)[0]
    assert len(batched.calls) <= 1
    assert outcome.estimated == 0
    assert outcome.stopped == ("all" if any(c.text for c in found) else None)
    assert one == searched(Reader(logits), found, limit=size, effort=Effort(tolerance=0.0))[0]


@few
@given(SEEDS, SIZES, st.integers(1, 60), st.integers(0, 20), st.sampled_from([0.0, 0.002, 0.05]))
def test_more_pairs_allowed_are_never_fewer_read(
    seed: int, size: int, pairs: int, more: int, tolerance: float
) -> None:
    found, logits = window(seed, size)
    read = []
    for most in (pairs, pairs + more):
        reader = Reader(logits)
        searched(reader, found, effort=Effort(most, tolerance))
        assert len(reader.read) <= most
        read.append(reader.read)
    assert set(read[0]) <= set(read[1])


@few
@given(
    SEEDS,
    st.integers(1, 12),
    EFFORTS,
    st.none() | st.floats(0.1, 0.9),
    st.booleans(),
    st.lists(st.sampled_from(STAGES), max_size=3, unique=True).map(tuple),
    st.sampled_from(["confidence", "rrf", "replace"]),
)
def test_walking_all_pages_gives_every_hit_once(
    seed: int,
    limit: int,
    effort: Effort,
    minimum: float | None,
    exact: bool,
    stages: tuple[Stage, ...],
    blend: Any,
) -> None:
    found, logits = window(seed)
    found = [
        replace(c, payload={"price": (n * 7) % 13, "brand": "abc"[n % 3]})
        for n, c in enumerate(found)
    ]
    rules: dict[str, Any] = {
        "effort": effort,
        "min_relevance": minimum,
        "exact_terms": ExactTerms(rare=1.0) if exact else None,
        "after": stages,
        "blend": Blend(blend),
    }
    pages, last = [], float("inf")
    for offset in range(0, len(found), limit):
        page, outcome = searched(Reader(logits), found, offset=offset, limit=limit, **rules)
        assert [hit.rank for hit in outcome.hits] == list(
            range(offset + 1, offset + 1 + len(page.hits))
        )
        assert falling(page)
        assert all(hit.score <= last for hit in page.hits)
        last = min([last, *(hit.score for hit in page.hits)])
        pages += ids(page)
    assert len(pages) == len(set(pages))
    dropped = [c for c in found if c.id not in pages]
    assert not dropped or minimum is not None
    assert all(relevance_of(logits[c.text]) < (minimum or 0) for c in dropped)


@few
@given(SEEDS, st.integers(1, 40), st.sampled_from(["auto", EASY, Effort(tolerance=0.0), "full"]))
def test_any_interruption_gives_a_valid_page(seed: int, stops: int, effort: object) -> None:
    found, logits = window(seed)
    ranking, outcome = searched(
        Reader(logits, stops_after=stops), found, limit=len(found), effort=effort
    )
    assert sorted(map(str, ids(ranking))) == sorted(str(c.id) for c in found)
    assert falling(ranking)
    assert outcome.status == ("partial" if outcome.stopped == "deadline" else "reranked")
    if outcome.stopped == "deadline":
        assert outcome.scored >= stops  # equal texts count once each
        assert outcome.scored + outcome.estimated + outcome.empty == outcome.seen


def test_auto_stops_when_the_page_is_settled_and_says_so() -> None:
    found, logits = window(1, 60)
    # One document answers, and the reader is certain of it.
    reader = Reader({text: 9.0 if n == 0 else -9.0 for n, text in enumerate(logits)})
    ranking, outcome = searched(reader, found, effort="auto")
    assert outcome.stopped == "settled"
    assert outcome.status == "reranked"
    assert 0 < outcome.scored < 30
    assert outcome.estimated > 0
    estimated = [hit for hit in outcome.hits if hit.estimate is not None]
    assert all(hit.relevance is None for hit in estimated)
    assert all(
        hit.estimate.low <= hit.estimate.relevance <= hit.estimate.high
        for hit in estimated
        if hit.estimate is not None
    )
    assert searched(reader, found, effort="auto")[0] == ranking


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"batch": None}, {}),
        ({"calibration": None}, {}),
        ({"listwise": True}, {"effort": EASY}),
        ({}, {"blend": Blend("replace")}),
        ({}, {"blend": Blend("rrf")}),
        ({}, {"effort": "full"}),
    ],
    ids=str,
)
def test_what_was_not_measured_is_read_in_full(
    changes: dict[str, Any], rules: dict[str, Any]
) -> None:
    found, logits = window(2)
    reader = replace(Reader(logits), **changes)
    _, outcome = searched(reader, found, **{"effort": "auto", **rules})
    assert (len(reader.calls), outcome.stopped, outcome.estimated) == (1, "all", 0)


def test_a_fused_list_alone_is_read_in_full() -> None:
    found, logits = window(2)
    found = [replace(candidate, branches={}) for candidate in found]
    _, outcome = searched(Reader(logits), found, effort="auto")
    assert (outcome.stopped, outcome.estimated) == ("all", 0)


def test_a_list_is_read_in_full_unless_its_policy_has_an_effort() -> None:
    _, logits = window(3)
    texts = [text for text in logits if text]
    for policy, whole in ((Policy(effort="auto"), True), (Policy(effort=Effort(pairs=5)), False)):
        reader = Reader(logits)
        run(ListReranker("mine", reader, policy).steps("q", texts, [None] * len(texts)))
        assert (len(reader.read) == len(texts)) == whole


def test_a_reranker_that_fails_between_batches_leaves_nothing_behind() -> None:
    found, logits = window(4)
    effort = Effort(tolerance=0.0)
    first = Reader({text: -value for text, value in logits.items()}, name="first", fails_after=20)
    second = Reader(logits, name="second")
    ranking, outcome = searched([first, second], found, effort=effort)
    assert 0 < len(first.read) <= 20
    assert (outcome.reranker, set(outcome.failed)) == ("second", {"first"})
    assert ranking == searched(Reader(logits), found, effort=effort)[0]


def test_one_call_reads_the_best_pairs_of_a_reranker_that_takes_no_batches() -> None:
    found, logits = window(5)
    reader = Reader(logits, batch=None, local=False)
    _, outcome = searched(reader, found, effort=Effort(pairs=15))
    assert [len(call) for call in reader.calls] == [15]
    assert outcome.stopped == "effort"


def test_scores_without_a_scale_are_estimated_by_rank() -> None:
    found, logits = window(6)
    effort = Effort(pairs=20)
    one, _ = searched(Reader(logits, calibration=None), found, effort=effort)
    stretched = {text: 0.01 * value**3 - 2 for text, value in logits.items()}
    other, _ = searched(Reader(stretched, calibration=None), found, effort=effort)
    assert ids(one) == ids(other)


def test_with_a_minimum_it_reads_on_until_a_page_passes() -> None:
    found, logits = window(7, 60)
    minimum = relevance_of(3.0)
    reader = Reader(logits)
    ranking, outcome = searched(reader, found, effort=EASY, min_relevance=minimum)
    passing = [hit for hit in ranking.hits if hit.relevance is not None]
    assert len(passing) == 10 or outcome.stopped == "all"
    ranking, outcome = searched(Reader(logits), found, effort=EASY, min_relevance=0.99999)
    assert outcome.stopped == "all"
    assert not ranking.hits or all(not hit.candidate.text for hit in ranking.hits)
    ranking, _ = searched(
        Reader(logits), found, effort=Effort(pairs=12), min_relevance=minimum, limit=60
    )
    known = [hit.relevance is not None for hit in ranking.hits]
    assert known == sorted(known, reverse=True)
