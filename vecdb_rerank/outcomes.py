"""How outcomes reach the caller: `observe`, and the policy's ``on_outcome``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from vecdb_rerank.candidates import Outcome
from vecdb_rerank.policy import Policy

_observers: ContextVar[tuple[list[Outcome], ...]] = ContextVar("observers", default=())


@contextmanager
def observe() -> Iterator[list[Outcome]]:
    """Collect the outcomes of the searches made inside the block, in request order.

    Safe under threads and tasks: each sees its own searches, and those of tasks it started.
    """
    outcomes: list[Outcome] = []
    token = _observers.set((*_observers.get(), outcomes))
    try:
        yield outcomes
    finally:
        _observers.reset(token)


def publish(outcome: Outcome, policy: Policy) -> None:
    """Give ``outcome`` to everybody who watches this search."""
    for outcomes in _observers.get():
        outcomes.append(outcome)
    if policy.on_outcome is not None:
        policy.on_outcome(outcome)
