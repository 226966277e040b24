"""Plans of requests: what is sent after which refusals."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.http.request_limits import LearnedLimit, RequestLimit, RequestPlan

NARROW, WIDE = RequestLimit(10), RequestLimit(1_000)


class Time:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.floats(0, 100), max_size=60),
    st.integers(1, 20),
    st.none() | st.floats(1, 500),
)
def test_parts_cover_everything_within_the_limit(
    tokens: list[float], documents: int, most: float | None
) -> None:
    parts = list(RequestLimit(documents, most).parts(tokens))
    assert [n for part in parts for n in part] == list(range(len(tokens)))
    for part in parts:
        assert len(part) <= documents
        if most is not None and len(part) > 1:
            assert sum(tokens[part.start : part.stop]) <= most + 1e-6


@given(
    st.integers(2, 300),
    st.integers(1, 400),
    st.integers(1, 400),
    st.sets(st.integers(0, 299), max_size=2),
    st.booleans(),
)
def test_a_plan_ends_within_its_requests(
    count: int, batch: int, limit: int, culprits: set[int], is_fault: bool
) -> None:
    tokens = [1.0] * count
    plan = RequestPlan(tokens, RequestLimit(batch))
    planned = math.ceil(count / batch)
    scored: set[int] = set()
    requests = 0
    while (part := plan.next(lambda _: True)) is not None:
        requests += 1
        assert not scored.intersection(part)
        if len(part) > limit or culprits.intersection(part):
            plan.refused(part, is_fault=is_fault)
            if plan.is_hopeless:
                break
        else:
            plan.accepted(part)
            scored.update(part)
    assert requests <= planned + 2 * math.ceil(math.log2(count))
    assert set(plan.culprits) <= culprits or limit < 1
    if plan.limit != RequestLimit(batch):
        assert plan.limit.documents <= max(limit, 1)
    within = culprits & set(range(count))
    if len(within) <= 1 and limit >= min(batch, count):
        assert scored == set(range(count)) - within


def test_a_learned_limit_expires() -> None:
    clock = Time()
    limit = LearnedLimit(WIDE, kept=600.0, clock=clock)
    assert not limit.is_learned
    limit.learn(NARROW)
    assert limit.current() == NARROW
    assert limit.is_learned
    clock.now = 600.0
    assert limit.current() == WIDE


def test_splitting_pauses_after_everything_was_refused() -> None:
    clock = Time()
    limit = LearnedLimit(WIDE, clock=clock)
    limit.refused_all()
    assert not limit.may_split
    clock.now = 60.0
    assert limit.may_split
    limit.refused_all()
    limit.accepted()
    assert limit.may_split
