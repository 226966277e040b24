"""One search under way: its rules, its rerankers, its clock, its deadline and its span."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from vecdb_rerank import telemetry
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.policy import Policy
from vecdb_rerank.resilience.chain import Chain

_NONE = Deadline()
_outer: ContextVar[Deadline] = ContextVar("outer deadline", default=_NONE)


@contextmanager
def ending_by(deadline: Deadline) -> Iterator[None]:
    """End the searches of the block by ``deadline``, if that is sooner than their policy's."""
    token = _outer.set(deadline)
    try:
        yield
    finally:
        _outer.reset(token)


class Clock:
    """Milliseconds by stage; each stage is a span."""

    def __init__(self) -> None:
        self._started, self._begun = time.perf_counter(), time.monotonic()
        self._stages: dict[str, float] = {}

    def shared(self) -> Clock:
        """Return a clock that has run as long, for one of several searches in one request."""
        clock = Clock()
        clock._started, clock._begun = self._started, self._begun
        clock._stages = dict(self._stages)
        return clock

    def deadline(self, seconds: float | None) -> Deadline:
        """Return the deadline ``seconds`` after the clock was made; see `ending_by`."""
        own = Deadline() if seconds is None else Deadline(self._begun + seconds)
        outer = _outer.get()
        return own if outer is _NONE else outer.at_most(own.remaining())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage."""
        started = time.perf_counter()
        try:
            with telemetry.span(name):
                yield
        finally:
            took = (time.perf_counter() - started) * 1e3
            self._stages[name] = self._stages.get(name, 0.0) + took

    def seconds(self, name: str) -> float | None:
        """Return the seconds of a stage; None if it was not run."""
        took = self._stages.get(name)
        return None if took is None else took / 1e3

    def timings(self) -> Mapping[str, float]:
        """Return the stages so far, and the ``total`` since the clock was made."""
        return {**self._stages, "total": (time.perf_counter() - self._started) * 1e3}


@dataclass(frozen=True, slots=True)
class SearchRun:
    """One search under way; ``chain`` is None if it is not reranked."""

    policy: Policy
    chain: Chain | None
    explain: bool
    clock: Clock
    deadline: Deadline
    span: telemetry.Span
