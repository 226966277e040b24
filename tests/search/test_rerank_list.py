"""Reranking lists from any source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.model import Scores
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.after import Boost, MaxPer, Mmr, Pin
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.search.rerank_list import ListReranker, Place
from vecdb_rerank.testing.doubles import KeepingReranker, RaisingReranker, ReversingReranker

TEXTS = [f"text {n}" for n in range(4)]
REPLACE = Policy(blend=Blend("replace"))


class Given:
    """Scores each text by a given number; None is not scored."""

    name = "given"

    def __init__(self, scores: dict[str, float | None]) -> None:
        self.scores = scores
        self.asked: list[Sequence[str]] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Any) -> Scores:
        self.asked.append(documents)
        return Scores.from_relevance([self.scores[text] for text in documents])


def places(reorder: ListReranker, texts: Sequence[str], query: str = "query") -> list[Place]:
    return run(reorder.steps(query, texts, [None] * len(texts)))


def positions(found: Sequence[Place]) -> list[int]:
    return [place.position for place in found]


def outcome_of(reorder: ListReranker, texts: Sequence[str], query: str = "query") -> Outcome:
    with observe() as outcomes:
        places(reorder, texts, query)
    (outcome,) = outcomes
    return outcome


async def test_the_best_come_first_sync_and_async() -> None:
    reorder = ListReranker("mine", ReversingReranker(), REPLACE)
    found = run(reorder.steps("query", TEXTS, [None] * 4, 2))
    assert found == [Place(3, 0.8, 0.8), Place(2, 0.6, 0.6)]
    assert await run_async(reorder.steps("query", TEXTS, [None] * 4, 2)) == found


def test_the_given_order_has_its_share_in_the_final_one() -> None:
    hardly = Given({text: 0.5 + n / 1000 for n, text in enumerate(TEXTS)})
    calibrated = Policy(calibration={hardly.name: Calibration()})
    assert positions(places(ListReranker("mine", hardly, calibrated), TEXTS)) == [0, 1, 2, 3]
    assert positions(places(ListReranker("mine", hardly, REPLACE), TEXTS)) == [3, 2, 1, 0]


def test_outcomes_say_whose_list_it_was_by_position() -> None:
    heard: list[Outcome] = []
    policy = Policy(blend=Blend("replace"), on_outcome=heard.append)
    outcome = outcome_of(ListReranker("mine", ReversingReranker(), policy), TEXTS)
    assert (outcome.status, outcome.backend, outcome.seen, outcome.scored) == (
        "reranked",
        "mine",
        4,
        4,
    )
    assert outcome.relevance == {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8}
    assert outcome.first_pass_score == dict.fromkeys(range(4), 0.0)
    assert {"rerank", "total"} <= set(outcome.timings)
    assert heard == [outcome]


def test_equal_texts_are_read_once_and_all_placed() -> None:
    given = Given({"a": 0.1, "b": 0.9})
    found = places(ListReranker("mine", given, REPLACE), ["a", "b", " a ", "b"])
    assert given.asked == [["a", "b"]]
    assert positions(found) == [1, 3, 0, 2]


def test_what_there_was_no_time_for_follows_in_its_order() -> None:
    given = Given({"text 0": None, "text 1": 0.2, "text 2": None, "text 3": 0.7})
    found = places(ListReranker("mine", given, REPLACE), TEXTS)
    assert positions(found) == [3, 1, 0, 2]
    scores = [place.score or 0.0 for place in found]
    assert scores == sorted(scores, reverse=True)
    assert [place.relevance for place in found] == [0.7, 0.2, None, None]
    assert outcome_of(ListReranker("mine", given, REPLACE), TEXTS).status == "partial"


@pytest.mark.parametrize(
    ("texts", "query", "reason"),
    [
        ([], "query", "no hits"),
        (["", " \n"], "query", "no hit has text in title, text"),
        (TEXTS, " ", "the query is empty"),
    ],
)
def test_where_there_is_nothing_to_read_the_order_stays(
    texts: list[str], query: str, reason: str
) -> None:
    reorder = ListReranker("mine", RaisingReranker(), Policy(on_error="raise"))
    assert places(reorder, texts, query) == [Place(n, None, None) for n in range(len(texts))]
    outcome = outcome_of(reorder, texts, query)
    assert outcome.status == "skipped"
    assert str(outcome.reason).startswith(reason)


@pytest.mark.parametrize(
    ("scores", "known"),
    [
        ([3.0, 2.0, 2.0, 1], [3.0, 2.0, 2.0, 1.0]),
        ([1.0, 2.0, 3.0, 4.0], [0.0] * 4),  # distances: the order is not theirs
        ([3.0, None, 2.0, 1.0], [0.0] * 4),
    ],
)
def test_scores_of_the_list_are_known_where_they_fall(
    scores: list[float | None], known: list[float]
) -> None:
    with observe() as outcomes:
        run(ListReranker("mine", KeepingReranker()).steps("query", TEXTS, scores))
    assert outcomes[0].first_pass_score == dict(enumerate(known))


def test_the_policy_s_rules_hold_for_lists_as_well() -> None:
    policy = Policy(blend=Blend("replace"), skip=Skip(margin=0.5))
    led = ListReranker("mine", ReversingReranker(), policy)
    with observe() as outcomes:
        run(led.steps("query", TEXTS, [9.0, 2.0, 1.0, 0.0]))
        run(led.steps("query", TEXTS, [None] * 4))
    assert [outcome.status for outcome in outcomes] == ["skipped", "reranked"]
    guarded = Policy(blend=Blend("replace"), exact_terms=ExactTerms(floor=1, rare=0.3))
    found = places(
        ListReranker("mine", ReversingReranker(), guarded), ["ERR_42", "b", "c", "d"], "ERR_42"
    )
    assert positions(found)[0] == 0


def test_no_reranker_keeps_the_order() -> None:
    reorder = ListReranker("mine", None)
    assert positions(places(reorder, TEXTS)) == [0, 1, 2, 3]
    assert outcome_of(reorder, TEXTS).reason == "no reranker"


def test_a_failure_keeps_the_order_and_raises_where_that_is_wished() -> None:
    assert places(ListReranker("mine", RaisingReranker()), TEXTS) == [
        Place(n, None, None) for n in range(4)
    ]
    strict = ListReranker("mine", RaisingReranker(), Policy(on_error="raise"))
    with observe() as outcomes, pytest.raises(RerankError, match="raising failed"):
        places(strict, TEXTS)
    assert [outcome.status for outcome in outcomes] == ["fell_back"]


def test_only_what_was_scored_can_be_irrelevant() -> None:
    given = Given({"text 0": 0.1, "text 1": None, "text 2": 0.6, "text 3": 0.4})
    policy = Policy(blend=Blend("replace"), min_relevance=0.4)
    assert positions(places(ListReranker("mine", given, policy), TEXTS)) == [2, 3, 1]


def test_text_that_no_tokenizer_takes_is_mended() -> None:
    given = Given({"a?": 0.5})
    places(ListReranker("mine", given), ["a\ud800"], "q\ud800")
    assert given.asked == [["a?"]]


def test_what_is_no_reranker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="int"):
        ListReranker("mine", 7)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="KeepingReranker"):
        ListReranker("mine", KeepingReranker)


def test_the_stages_of_a_policy_read_the_payloads_of_a_list() -> None:
    texts = ["first one", "second one", "third one", "fourth one"]
    payloads = [{"source": "a"}, {"source": "a"}, {"source": "b", "_doc_id": "1"}, {}]
    stages = Policy(after=(MaxPer("source"), Pin(("1",))))
    listed = ListReranker("test", lambda _, given: [0.5] * len(given), stages)
    places = run(listed.steps("q", texts, [4, 3, 2, 1], payloads=payloads))
    assert [place.position for place in places] == [2, 0, 3, 1]
    with pytest.raises(ConfigurationError) as caught:
        ListReranker("test", "none", Policy(after=(Mmr(), Boost({"term": {"a": 1}}, factor=2))))
    assert caught.value.key == "policy.after.1.filter"
