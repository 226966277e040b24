"""When a failing reranker is paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank._checks import above, at_least, in_range


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a reranker is no longer called (the circuit breaker of Nygard, Release It!, 2007).

    It opens when ``failures`` calls within ``window`` seconds failed and these are at least
    ``share`` of all calls in the window and under way, so that a busy reranker that fails now and
    then stays in use. After ``pause`` seconds one search probes it while the others go without:
    its success closes the breaker, its failure starts another pause.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    failures: int = 5
    """Failed calls within the window that open it (at least 1)."""
    share: float = 0.5
    """The least share of failed calls among those in the window and under way (0 to 1)."""
    window: float = 30.0
    """Seconds for which calls are counted."""
    pause: float = 10.0
    """Seconds in which the reranker is not called."""

    def __post_init__(self) -> None:
        at_least("policy.breaker.failures", self.failures, 1)
        in_range("policy.breaker.share", self.share, 0, 1)
        above("policy.breaker.window", self.window, 0, "seconds")
        above("policy.breaker.pause", self.pause, 0, "seconds")
