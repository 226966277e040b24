"""One search under way: its clock, its deadline and its span."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from vecdb_rerank import telemetry
from vecdb_rerank.flow.deadline import Deadline


class Clock:
    """Milliseconds by stage, each of them a span."""

    def __init__(self) -> None:
        self._started, self._begun = time.perf_counter(), time.monotonic()
        self._stages: dict[str, float] = {}

    def shared(self) -> Clock:
        """A clock that has run as long, for one of several searches in one request."""
        clock = Clock()
        clock._started, clock._begun = self._started, self._begun
        clock._stages = dict(self._stages)
        return clock

    def deadline(self, seconds: float | None) -> Deadline:
        """The deadline ``seconds`` after the clock was made."""
        return Deadline() if seconds is None else Deadline(self._begun + seconds)

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

    @property
    def stages(self) -> Mapping[str, float]:
        """The stages so far; one that came twice has the time of both."""
        return self._stages

    def timings(self) -> Mapping[str, float]:
        """The stages so far, and the ``total`` since the clock was made."""
        return {**self._stages, "total": (time.perf_counter() - self._started) * 1e3}


@dataclass(frozen=True, slots=True)
class SearchRun:
    """One search under way."""

    clock: Clock
    deadline: Deadline
    span: telemetry.Span
