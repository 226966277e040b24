"""The index is asked about terms that the candidates cannot decide, and only then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.deadline import Deadline
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow import Call, Flow, run, run_async
from vecdb_rerank.jargon import IndexRarity, Jargon, undecided
from vecdb_rerank.rarity import AT_ONCE, KEPT, PAUSE, Rarity

RULES = IndexRarity(share=0.01, ttl=60.0)
# Ten of fifty hold the one term, half of them another, most a third.
TEXTS = [
    f"{'ERR_4032' if n < 10 else ''} {'utf8' if n < 25 else ''} {'x86' if n < 40 else ''} {n}"
    for n in range(50)
]


@dataclass
class Index:
    """An index that knows these shares, and what it was asked."""

    shares: Mapping[str, float]
    fail: Callable[[], None] = lambda: None
    collection: str = "shelf"
    asked: list[list[str]] = field(default_factory=list)
    left: list[float] = field(default_factory=list)

    def term_shares(self, terms: Sequence[str], deadline: Deadline) -> Flow[Mapping[str, float]]:
        self.asked.append(list(terms))
        self.left.append(deadline.remaining())

        def answer() -> Mapping[str, float]:
            self.fail()
            return {term: self.shares[term] for term in terms if term in self.shares}

        found: Mapping[str, float] = yield Call(answer)
        return found


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def rare(
    index: Index, query: str, rarity: Rarity | None = None, *, deadline: Deadline | None = None
) -> frozenset[str]:
    rarity = Rarity() if rarity is None else rarity
    return run(rarity.rare(index, query.split(), RULES, deadline or Deadline()))


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("ERR_4032 and utf8 on x86", ["ERR_4032", "utf8"]),  # most hold the last one
        ("no exact term", []),
        ("ERR_9999", []),  # nobody holds it
        ('the "49" one', []),  # hardly any does: rare as it is
        ("", []),
    ],
)
def test_what_the_candidates_cannot_decide(query: str, terms: list[str]) -> None:
    assert undecided(query, TEXTS, Jargon()) == terms


@given(
    st.lists(st.sampled_from(["ERR_4032 utf8", "utf8", "x86", ""]), max_size=60),
    st.floats(0, 1),
)
def test_a_term_that_is_rare_among_the_candidates_is_never_asked_for(
    texts: list[str], share: float
) -> None:
    rules = Jargon(rare=share)
    for term in undecided("ERR_4032 utf8 x86", texts, rules):
        holders = sum(term in text for text in texts)
        assert max(1, share * len(texts) - 1) < holders <= len(texts) / 2


def test_rare_is_what_a_small_share_of_the_index_holds() -> None:
    index = Index({"ERR_4032": 0.01, "utf8": 0.011})
    assert rare(index, "ERR_4032 utf8") == {"ERR_4032"}
    assert index.asked == [["ERR_4032", "utf8"]]


def test_a_term_that_the_index_does_not_know_is_left_to_the_candidates() -> None:
    assert rare(Index({}), "ERR_4032") == frozenset()


def test_an_answer_is_kept_for_its_time_by_collection() -> None:
    clock = Clock()
    rarity = Rarity(clock)
    index, other = Index({"ERR_4032": 0.001}), Index({"ERR_4032": 0.5}, collection="other")
    for _ in range(2):
        assert rare(index, "ERR_4032", rarity) == {"ERR_4032"}
    assert rare(index, "ERR_4032 utf8", rarity) == {"ERR_4032"}
    assert rare(index, "utf8", rarity) == frozenset()  # that it is unknown is kept, too
    assert index.asked == [["ERR_4032"], ["utf8"]]
    assert rare(other, "ERR_4032", rarity) == frozenset()
    assert other.asked == [["ERR_4032"]]
    clock.now = 60.0
    rare(index, "ERR_4032", rarity)
    assert index.asked[2:] == [["ERR_4032"]]


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    rarity, index = Rarity(), Index({})
    names = [f"E_{n}" for n in range(KEPT + AT_ONCE)]
    for n in range(0, len(names), AT_ONCE):
        rare(index, " ".join(names[n : n + AT_ONCE]), rarity)
    asked = len(index.asked)
    for name, again in ((names[-1], 0), (names[0], 1)):
        rare(index, name, rarity)
        assert len(index.asked) == asked + again
    assert len(rarity) == KEPT


def test_a_pasted_log_asks_for_some_of_its_terms_in_one_request() -> None:
    index = Index({})
    rare(index, " ".join(f"E_{n}" for n in range(500)))
    assert [len(terms) for terms in index.asked] == [AT_ONCE]


def test_an_index_that_fails_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("secret query text")

    clock = Clock()
    rarity, index = Rarity(clock), Index({"ERR_4032": 0.0, "utf8": 0.0}, fail)
    with caplog.at_level(logging.WARNING, "vecdb_rerank"):
        assert rare(index, "ERR_4032", rarity) == frozenset()
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text
    index.fail = lambda: None
    assert rare(index, "utf8", rarity) == frozenset()
    assert len(index.asked) == 1
    clock.now = PAUSE
    assert rare(index, "ERR_4032", rarity) == {"ERR_4032"}


def test_it_takes_a_part_of_the_time_left_and_none_where_there_is_none() -> None:
    index = Index({"ERR_4032": 0.0})
    assert rare(index, "ERR_4032", deadline=Deadline.after(40)) == {"ERR_4032"}
    assert 0 < index.left[0] <= 10
    assert rare(index, "ERR_4032", deadline=Deadline.after(0)) == frozenset()
    assert len(index.asked) == 1


def test_an_asynchronous_search_asks_alike() -> None:
    async def main() -> Any:
        index = Index({"ERR_4032": 0.0})
        return await run_async(Rarity().rare(index, ["ERR_4032"], RULES, Deadline.after(5)))

    assert asyncio.run(main()) == {"ERR_4032"}


@pytest.mark.parametrize(("wrong", "named"), [({"share": 1.5}, "share"), ({"ttl": -1.0}, "ttl")])
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.jargon\.index\.{named}: "):
        IndexRarity(**wrong)


def test_an_index_rule_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^policy\.jargon\.index: "):
        Jargon(index=True)  # type: ignore[arg-type]  # what a user might do
