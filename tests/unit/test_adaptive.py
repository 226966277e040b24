"""A window that follows what searches need."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb_rerank import fusion
from vecdb_rerank.adaptive import PROBED, AdaptiveK, with_k
from vecdb_rerank.blending import Blend
from vecdb_rerank.candidates import Candidate, Outcome, Ranking, Scores
from vecdb_rerank.chain import Chain
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import Documents
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow import Call, Flow, run, run_async
from vecdb_rerank.jargon import Jargon
from vecdb_rerank.outcomes import observe
from vecdb_rerank.passages import Passages
from vecdb_rerank.pipeline import Pipeline
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.search import BRANCHES, Fusion, Search

Response = list[tuple[int, float]]
ADAPTIVE = AdaptiveK(least=4, most=40)


@dataclass
class Branched:
    """A database of two branches, cut at the search's depth and fused: scores depend on it."""

    texts: Sequence[str]
    orders: tuple[Sequence[int], Sequence[int]]
    fail: Callable[[int], None] = lambda _: None
    name: str = "branched"
    asked: list[tuple[int, int]] = field(default_factory=list)

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        self.asked.append((search.k, search.depth))
        yield Call(lambda: self.fail(len(self.asked)), deadline.remaining())
        branches = [
            fusion.branch((i, 1.0 - n / 1e3) for n, i in enumerate(order[: search.depth]))
            for order in self.orders
        ]
        fused = fusion.fuse(branches, search.fusion)[: search.k]
        found = [(int(i), score) for i, score in fused]
        return FirstPass(found, "client", dict(zip(BRANCHES, branches, strict=True)))

    def candidates(self, first: FirstPass[Response], documents: Documents) -> Sequence[Candidate]:
        return [
            Candidate(
                n,
                i,
                self.texts[i],
                score,
                branches={name: hits[i] for name, hits in first.evidence.items() if i in hits},
            )
            for n, (i, score) in enumerate(first.response)
        ]

    def rebuild(self, first: FirstPass[Response], ranking: Ranking) -> Response:
        return [(first.response[h.candidate.position][0], h.score) for h in ranking.hits]

    def describe_error(self, error: Exception) -> str:
        return str(error)


@dataclass
class Counting:
    """Relevance is the share of q's that a text has of its length."""

    fail: Callable[[int], None] = lambda _: None
    name: str = "counting"
    sent: list[list[str]] = field(default_factory=list)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.sent.append(list(documents))
        self.fail(len(self.sent))
        shares = [d.count("q") / len(d) for d in documents]
        return Scores.from_relevance(shares, truncated=len(documents), billed=1.0)


def search(**changes: Any) -> Search:
    plain = Search("q x86", k=10, limit=3, offset=0, mode="bm25", depth=10, fusion=Fusion())
    return replace(plain, adapts=True, **changes)


def piped(reranker: Any, **rules: Any) -> Pipeline:
    policy = Policy(**{"blend": Blend("replace"), **rules})
    return Pipeline(chain=Chain([reranker], policy), policy=policy)


def searched(pipeline: Pipeline, database: Any, asked: Search) -> tuple[Response, Outcome]:
    with observe() as outcomes:
        response = run(pipeline.search(database, asked))
    (outcome,) = outcomes
    return response, outcome


def ranked(count: int = 60, best: Sequence[int] = ()) -> Branched:
    """Documents in the order of their numbers; those of ``best`` are the relevant ones."""
    texts = [f"{'q' * 20 if n in best else ''} text {n}" for n in range(count)]
    return Branched(texts, (range(count), range(count)))


# -- widening


def test_a_winner_at_the_far_edge_brings_a_window_twice_as_wide() -> None:
    database, reranker = ranked(best=[9, 15]), Counting()
    response, outcome = searched(piped(reranker, adaptive_k=ADAPTIVE), database, search())
    assert database.asked == [(10, 10), (20, 20)]
    assert [i for i, _ in response][:2] in ([9, 15], [15, 9])
    assert (outcome.k, outcome.widened, outcome.seen, outcome.scored) == (20, True, 20, 20)


def test_a_winner_short_of_the_edge_leaves_the_window_as_it_is() -> None:
    database, reranker = ranked(best=[0, 1, 7]), Counting()
    _, outcome = searched(piped(reranker, adaptive_k=ADAPTIVE), database, search())
    assert database.asked == [(10, 10)]
    assert (outcome.k, outcome.widened) == (10, False)


def test_two_lists_of_a_cascade_are_not_joined() -> None:
    database, cheap, strong = ranked(best=[9, 15]), Counting(), Counting(name="strong")
    cascade = CascadeReranker(cheap, strong, best=2)
    response, outcome = searched(piped(cascade, adaptive_k=ADAPTIVE), database, search())
    assert [len(sent) for sent in cheap.sent] == [10, 20]
    assert [len(sent) for sent in strong.sent] == [2, 2]
    assert sorted(i for i, _ in response[:2]) == [9, 15]
    assert (outcome.scored, outcome.truncated, outcome.billed) == (20, 20, {cascade.name: 4.0})


def test_only_new_documents_are_scored_and_all_that_was_billed_is_told() -> None:
    database, reranker = ranked(best=[9]), Counting()
    _, outcome = searched(piped(reranker, adaptive_k=ADAPTIVE), database, search())
    first, second = reranker.sent
    assert (len(first), len(second)) == (10, 10)
    assert not set(first) & set(second)
    assert (dict(outcome.billed), outcome.truncated) == ({"counting": 2.0}, 20)


@pytest.mark.parametrize(
    ("rules", "changes", "why"),
    [
        (None, {}, "it is off"),
        (ADAPTIVE, {"adapts": False}, "the call named k, or pages"),
        (AdaptiveK(least=1, most=10), {}, "the window is the widest already"),
        (ADAPTIVE, {"limit": 6}, "the page is more than half of the window"),
    ],
)
def test_what_is_never_widened(rules: Any, changes: dict[str, Any], why: str) -> None:
    database = ranked(best=[9])
    asked = replace(search(), **changes)
    _, outcome = searched(piped(Counting(), adaptive_k=rules), database, asked)
    assert database.asked == [(10, 10)], why
    assert (outcome.k, outcome.widened) == (10, False)


def test_a_database_that_has_no_more_is_not_asked_again() -> None:
    database = ranked(9, best=[8])
    searched(piped(Counting(), adaptive_k=ADAPTIVE), database, search())
    assert database.asked == [(10, 10)]


def test_it_is_widened_once_and_at_most_to_the_limit() -> None:
    database = ranked(best=[9, 14, 59])
    rules = AdaptiveK(least=4, most=15)
    _, outcome = searched(piped(Counting(), adaptive_k=rules), database, search())
    assert [k for k, _ in database.asked] == [10, 15]
    assert outcome.k == 15


def test_a_depth_of_its_own_stays() -> None:
    database = ranked(best=[9])
    searched(piped(Counting(), adaptive_k=ADAPTIVE), database, search(depth=30))
    assert database.asked == [(10, 30), (20, 30)]
    assert with_k(search(depth=10), 4).depth == 4


def test_hits_dropped_as_irrelevant_are_no_winners() -> None:
    database = ranked(best=[0, 1, 2])
    database.texts = [
        t if n < 3 else f"{'q' if n == 9 else ''} {t}" for n, t in enumerate(database.texts)
    ]
    rules: dict[str, Any] = {"adaptive_k": ADAPTIVE, "min_relevance": 0.5}
    searched(piped(Counting(), **rules), database, search(limit=5))
    assert len(database.asked) == 1


# -- the same as if k had been that from the start


@settings(deadline=None)
@given(
    data=st.data(),
    count=st.integers(0, 60),
    k=st.integers(2, 20),
    limit=st.integers(1, 10),
    blended=st.booleans(),
    guarded=st.booleans(),
    in_parts=st.booleans(),
    minimum=st.none() | st.floats(0, 1),
)
def test_a_widened_search_is_a_plain_one_with_that_k(
    data: st.DataObject,
    count: int,
    k: int,
    limit: int,
    blended: bool,
    guarded: bool,
    in_parts: bool,
    minimum: float | None,
) -> None:
    words = st.lists(st.sampled_from(["q", "x86", "plain", "words."]), max_size=6).map(" ".join)
    texts = data.draw(st.lists(words, min_size=count, max_size=count))
    places = st.permutations(range(count))
    database = Branched(texts, (data.draw(places), data.draw(places)))
    rules: dict[str, Any] = {
        "blend": Blend("confidence" if blended else "replace"),
        "min_relevance": minimum,
        "jargon": Jargon(rare=0.1) if guarded else None,
        "passages": Passages(window=16, overlap=2, most=2) if in_parts else None,
    }
    asked = search(k=k, depth=k, limit=min(k, limit))
    response, outcome = searched(piped(Counting(), adaptive_k=ADAPTIVE, **rules), database, asked)
    plain, expected = searched(
        piped(Counting(), **rules), database, with_k(replace(asked, adapts=False), outcome.k)
    )
    assert response == plain
    assert len({i for i, _ in response}) == len(response)
    assert outcome.k in {k, min(2 * k, ADAPTIVE.most)}
    for name in ("status", "seen", "scored", "empty", "relevance", "raw", "passages"):
        assert getattr(outcome, name) == getattr(expected, name)


def test_an_asynchronous_search_widens_alike() -> None:
    async def main() -> Any:
        with observe() as outcomes:
            found = await run_async(
                piped(Counting(), adaptive_k=ADAPTIVE).search(ranked(best=[9]), search())
            )
        return found, outcomes[0].k

    response, outcome = searched(piped(Counting(), adaptive_k=ADAPTIVE), ranked(best=[9]), search())
    assert asyncio.run(main()) == (response, outcome.k)


# -- what goes wrong costs the widening alone


def broken(at: int) -> Callable[[int], None]:
    def fail(call: int) -> None:
        if call == at:
            raise LookupError("down")

    return fail


@pytest.mark.parametrize("on_error", ["fallback", "raise"])
def test_a_second_first_pass_that_fails_leaves_the_first_list(
    on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database = replace(ranked(best=[9]), fail=broken(2))
    rules: dict[str, Any] = {"on_error": on_error}
    response, outcome = searched(
        piped(Counting(), adaptive_k=ADAPTIVE, **rules), database, search()
    )
    assert len(database.asked) == 2
    plain, _ = searched(piped(Counting(), **rules), ranked(best=[9]), search())
    assert response == plain
    assert (outcome.status, outcome.k, outcome.widened) == ("reranked", 10, False)
    assert "not widened: FirstPassError" in caplog.text


@pytest.mark.parametrize("on_error", ["fallback", "raise"])
def test_a_reranker_that_fails_on_the_new_ones_leaves_the_first_list(on_error: Any) -> None:
    reranker = Counting(broken(2))
    rules: dict[str, Any] = {"on_error": on_error}
    response, outcome = searched(
        piped(reranker, adaptive_k=ADAPTIVE, **rules), ranked(best=[9]), search()
    )
    plain, _ = searched(piped(Counting(), **rules), ranked(best=[9]), search())
    assert response == plain
    assert (outcome.status, outcome.error, outcome.k, outcome.widened) == (
        "reranked",
        None,
        10,
        False,
    )
    assert dict(outcome.billed) == {"counting": 1.0}
    assert list(outcome.failed) == ["counting"]


def test_scores_of_two_rerankers_are_not_mixed() -> None:
    policy = Policy(adaptive_k=ADAPTIVE, blend=Blend("replace"))
    second = Counting(name="second")
    chain = Chain([Counting(broken(2)), second], policy)
    _, outcome = searched(Pipeline(chain=chain, policy=policy), ranked(best=[9]), search())
    assert len(second.sent) == 1
    assert (outcome.reranker, outcome.k, outcome.widened) == ("counting", 10, False)
    assert dict(outcome.billed) == {"counting": 1.0, "second": 1.0}


def test_without_time_for_all_of_it_again_nothing_is_begun() -> None:
    reranker = Counting(lambda _: time.sleep(1.1))
    database = ranked(best=[9])
    _, outcome = searched(piped(reranker, adaptive_k=ADAPTIVE, deadline=2.0), database, search())
    assert len(database.asked) == 1
    assert outcome.status == "reranked"


def test_a_second_rerank_that_is_late_costs_no_more_than_the_deadline() -> None:
    reranker = Counting(lambda call: time.sleep(30 if call == 2 else 0))
    started = time.monotonic()
    response, outcome = searched(
        piped(reranker, adaptive_k=ADAPTIVE, deadline=0.5), ranked(best=[9]), search()
    )
    assert time.monotonic() - started < 5
    assert len(response) == 3
    assert (outcome.status, outcome.widened) == ("reranked", False)


# -- narrowing


def windows(pipeline: Pipeline, database: Branched, asked: Search, count: int) -> list[int]:
    """The k of so many searches."""
    return [searched(pipeline, database, asked)[1].k for _ in range(count)]


def test_later_searches_begin_narrower_where_winners_come_from_the_front() -> None:
    database, pipeline = ranked(best=[0, 1, 2]), piped(Counting(), adaptive_k=ADAPTIVE)
    found = windows(pipeline, database, search(k=30, depth=30), 400)
    assert found[0] == 30
    assert {k for n, k in enumerate(found, start=1) if n % PROBED == 0} == {30}
    narrowed = [k for n, k in enumerate(found, start=1) if n % PROBED]
    assert narrowed == sorted(narrowed, reverse=True)
    assert narrowed[-1] == 6  # twice the page; winners need 3, and a free edge


def test_it_never_begins_below_the_least_nor_above_its_own_k() -> None:
    for rules, k in ((AdaptiveK(least=9, most=40), 9), (AdaptiveK(least=35, most=40), 30)):
        pipeline = piped(Counting(), adaptive_k=rules)
        found = windows(pipeline, ranked(best=[0]), search(k=30, depth=30, limit=1), 401)
        assert min(found) == k
        assert max(found) == 30


def test_needs_are_learnt_by_mode_and_page() -> None:
    database, pipeline = ranked(best=[0, 1, 2]), piped(Counting(), adaptive_k=ADAPTIVE)
    asked = search(k=30, depth=30)
    assert windows(pipeline, database, asked, 401)[-1] == 6
    assert windows(pipeline, database, replace(asked, limit=2), 1) == [30]
    dense = replace(asked, mode="dense", query_vector=[1.0])
    assert windows(pipeline, database, dense, 1) == [30]


def test_what_lies_behind_a_narrowed_window_is_found_again() -> None:
    """Winners move to where a narrow window cannot see them: probes do."""
    pipeline = piped(Counting(), adaptive_k=ADAPTIVE)
    asked = search(k=30, depth=30)
    assert windows(pipeline, ranked(best=[0, 1, 2]), asked, 401)[-1] == 6
    assert windows(pipeline, ranked(best=[20, 21, 22]), asked, 301)[-1] > 23


def test_a_search_that_is_not_reranked_teaches_nothing() -> None:
    def down(_: int) -> None:
        raise RerankError("down")

    pipeline = piped(Counting(down), adaptive_k=ADAPTIVE, breaker=None)
    windows = {searched(pipeline, ranked(), search())[1].k for _ in range(5)}
    assert windows == {10}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"least": 0}, "least"),
        ({"least": 30, "most": 20}, "least"),
        ({"most": 10_001}, "most"),
        ({"edge": 0.0}, "edge"),
        ({"edge": 1.0}, "edge"),
        ({"edge": math.nan}, "edge"),
    ],
)
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.adaptive_k\.{named}: "):
        AdaptiveK(**wrong)
