"""One scale of relevance for all rerankers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank import OnnxReranker
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores, sigmoid
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.calibration import MS_MARCO_MINILM, Calibration, logit
from vecdb_rerank.resilience.chain import Chain

TEXTS = ["Bread rises because yeast makes gas.", "Cars have four wheels."]


def relevance(policy: Policy) -> list[float | None]:
    """What a chain makes of the bundled model's scores."""
    answer = run(Chain([OnnxReranker()]).ask("why does bread rise?", TEXTS, Deadline(), policy))
    assert answer.scores is not None
    return list(answer.scores.relevance)


def test_the_bundled_model_is_calibrated_and_a_policy_may_say_otherwise() -> None:
    reranker = OnnxReranker()
    raw = reranker.score("why does bread rise?", TEXTS, deadline=Deadline())
    logits = [x for x in raw.raw if x is not None]
    assert relevance(Policy()) == pytest.approx([sigmoid((x - 2) / 3) for x in logits])
    own = Policy(calibration={reranker.name: Calibration(2.0, 1.0)})
    assert relevance(own) == pytest.approx([sigmoid(2 * x + 1) for x in logits], abs=1e-6)
    other = Policy(calibration={"other": Calibration(2.0, 1.0)})
    assert relevance(other) == relevance(Policy())


def test_raw_scores_and_what_was_not_scored_stay() -> None:
    scores = MS_MARCO_MINILM.scores(Scores.from_logits([3.0, None], truncated=1, billed=2.0))
    assert scores.raw == [3.0, None]
    assert scores.relevance[1] is None
    assert (scores.truncated, scores.billed) == (1, 2.0)


@given(
    st.floats(0.01, 10),
    st.floats(-10, 10),
    st.lists(st.floats(0, 1), min_size=2),
)
def test_the_order_stays(slope: float, intercept: float, given_: list[float]) -> None:
    calibration = Calibration(slope, intercept)
    found = [calibration.relevance(value) for value in sorted(given_)]
    assert all(low <= high for low, high in itertools.pairwise(found))
    assert all(0 <= value <= 1 for value in found)


@given(st.floats(-30, 30))
def test_the_logit_undoes_the_sigmoid(x: float) -> None:
    assert logit(sigmoid(x)) == pytest.approx(x, abs=1e-2)


def test_the_logit_of_certainty_is_finite() -> None:
    assert math.isfinite(logit(0.0))
    assert math.isfinite(logit(1.0))
    assert logit(0.0) <= logit(5e-324) < logit(0.5) < logit(1 - 1e-16) <= logit(1.0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"slope": 0.0}, "slope"),
        ({"slope": -1.0}, "slope"),
        ({"slope": math.inf}, "slope"),
        ({"intercept": math.nan}, "intercept"),
    ],
)
def test_a_wrong_one_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.calibration\.{named}: "):
        Calibration(**wrong)
