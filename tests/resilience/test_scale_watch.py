"""Scores on another scale than the declared one are noticed, and count by rank until they fit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores, sigmoid
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.scale_watch import ScaleWatch, why_suspect
from vecdb_rerank.search.rerank_list import ListReranker

TEXTS = ["one", "two", "three", "four"]
WRONG = {
    "probabilities as logits": Scores.from_logits([0.73, 0.5, 0.5, 0.01]),
    "all equal": Scores.from_relevance([0.5] * 4),
    "all equal logits": Scores.from_logits([-3.0] * 4),
    "all near 0": Scores.from_relevance([1e-9, 2e-9, 3e-9, 1e-8]),
    "rounded probabilities as logits": Scores.from_logits([1.0000001, 0.5, 0.2, -1e-8]),
    "percentages as logits": Scores.from_logits([97.0, 50.0, 3.0, 0.0]),
    "equal but for rounding": Scores.from_logits([2.0, 2.0, 2.0000001, 2.0]),
}
RIGHT = Scores.from_logits([4.2, -1.0, -3.0, -8.0])


class Fixed(BaseReranker):
    """Returns the scores that it was given."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return self.scores


class Probabilities(BaseReranker):
    """Declares probabilities as logits."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_logits([1 / (n + 2) for n in range(len(documents))])


def outcomes(scores: Sequence[Scores], policy: Policy) -> list[Outcome]:
    reranker = Fixed(scores[0])
    lists = ListReranker("test", reranker, policy)
    with observe() as found:
        for each in scores:
            reranker.scores = each
            run(lists.steps("query", TEXTS, [None] * 4))
    return found


@pytest.mark.parametrize("watches", [True, False])
def test_the_scales_of_a_cascade_are_watched_as_those_of_its_chain(watches: bool) -> None:
    cascade = CascadeReranker(Probabilities("fast"), Probabilities("exact"), best=10)
    chain = Chain([cascade], watches_scale=watches)
    texts = [f"text {n}" for n in range(30)]
    noted = []
    for _ in range(4):
        answer = run(chain.ask("query", texts, Deadline(), Policy()))
        assert answer.scores is not None
        noted.append("scale_suspect" in answer.scores.notes)
    assert noted == [False, False, watches, watches]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_the_third_wrong_answer_in_a_row_is_noted(wrong: Scores) -> None:
    policy = Policy(calibration={"Fixed": Calibration()})
    found = outcomes([wrong, wrong, wrong, wrong, RIGHT, wrong], policy)
    noted = ["scale_suspect" in outcome.notes for outcome in found]
    assert noted == [False, False, True, True, False, False]
    assert {outcome.status for outcome in found} == {"reranked"}


def test_equal_scores_of_equal_texts_are_right() -> None:
    chain = Chain([Fixed(Scores.from_logits([-3.0] * 4))])
    for _ in range(4):
        scores = run(chain.ask("query", ["one"] * 4, Deadline(), Policy())).scores
        assert scores is not None
        assert "scale_suspect" not in scores.notes


def test_a_suspected_relevance_drops_no_hit() -> None:
    wrong = WRONG["all near 0"]
    reranker = Fixed(wrong)
    lists = ListReranker("test", reranker, Policy(min_relevance=0.3))
    kept = [len(run(lists.steps("query", TEXTS, [None] * 4))) for _ in range(4)]
    assert kept == [0, 0, 4, 4]


@pytest.mark.parametrize("method", ["confidence", "convex", "rrf", "replace"])
def test_a_reranker_without_calibration_is_noted_if_its_numbers_would_count(method: str) -> None:
    blend = Blend(method)  # type: ignore[arg-type]
    (plain,) = outcomes([RIGHT], Policy(blend=blend))
    (fitted,) = outcomes([RIGHT], Policy(blend=blend, calibration={"Fixed": Calibration()}))
    assert ("uncalibrated" in plain.notes) == blend.uses_relevance
    assert fitted.notes == {}


def test_an_answer_of_few_scores_neither_raises_nor_ends_a_suspicion() -> None:
    watch = ScaleWatch()
    wrong, few = WRONG["probabilities as logits"], Scores.from_logits([4.2, -1.0])
    found = [watch.suspicion(each) for each in (wrong, few, wrong, few, wrong, few, RIGHT, few)]
    assert [reason is not None for reason in found] == [False] * 4 + [True] * 2 + [False] * 2


def test_many_relevances_of_a_second_sigmoid_are_suspect() -> None:
    twice = Scores.from_relevance([sigmoid(n / 20) for n in range(20)])
    assert why_suspect(twice) is not None
    assert why_suspect(Scores.from_relevance([0.72, 0.6, 0.5])) is None  # too few to tell
