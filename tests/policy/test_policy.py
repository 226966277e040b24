"""A policy is checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.skip import Skip


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"deadline": None},
        {"deadline": 0.001},
        {"deadline": 5},
        {"on_error": "raise"},
        {"min_relevance": 0},
        {"min_relevance": 1.0},
    ],
)
def test_good_rules_are_taken(good: dict[str, Any]) -> None:
    policy = Policy(**good)
    assert all(getattr(policy, name) == value for name, value in good.items())


def test_the_effort_of_a_mapping_is_a_word_or_a_mapping() -> None:
    assert Policy.of({"effort": {"pairs": 5}}).effort == Effort(pairs=5)
    assert Policy.of({"effort": "auto"}).effort == "auto"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"deadline": 0}, "policy.deadline"),
        ({"deadline": -1.0}, "policy.deadline"),
        ({"deadline": math.nan}, "policy.deadline"),
        ({"deadline": math.inf}, "policy.deadline"),
        ({"blend": "replace"}, "policy.blend"),
        ({"breaker": True}, "policy.breaker"),
        ({"cost": {}}, "policy.cost"),
        ({"on_error": "ignore"}, "policy.on_error"),
        ({"on_error": None}, "policy.on_error"),
        ({"min_relevance": -0.01}, "policy.min_relevance"),
        ({"min_relevance": 1.01}, "policy.min_relevance"),
        ({"min_relevance": math.nan}, "policy.min_relevance"),
        ({"record_query": "no"}, "policy.record_query"),
        ({"branch_evidence": 0}, "policy.branch_evidence"),
        ({"on_outcome": 5}, "policy.on_outcome"),
        ({"effort": "fast"}, "policy.effort"),
        ({"effort": None}, "policy.effort"),
        ({"calibration": None}, "policy.calibration"),
        ({"calibration": [("a", 1)]}, "policy.calibration"),
        ({"calibration": {"a": 1.0}}, "policy.calibration.a"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{named}: "):
        Policy(**wrong)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (Skip, {"exact": "no"}),
        (Skip, {"shadow": 1}),
        (Cost, {"prices": 0.002}),
        (Effort, {"pairs": 0}),
        (Effort, {"pairs": 2.5}),
        (Effort, {"pairs": True}),
        (Effort, {"tolerance": -0.1}),
        (Effort, {"tolerance": math.nan}),
        (ExactTerms, {"terms": "SCSI"}),
        (ExactTerms, {"terms": (5,)}),
        (ExactTerms, {"terms": (" ",)}),
    ],
)
def test_a_wrong_part_is_refused_by_name(part: Callable[..., object], wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        part(**wrong)
    assert caught.value.key.endswith(next(iter(wrong)))


def test_a_deadline_counts_down_and_stops_at_zero() -> None:
    deadline = Deadline.after(60)
    assert 0 < deadline.remaining() <= 60
    assert not deadline.expired
    past = Deadline.after(0)
    assert past.remaining() == 0.0
    assert past.expired


def test_no_deadline_never_comes() -> None:
    assert Deadline.after(None).remaining() == math.inf
    assert not Deadline().expired
