"""When a failing reranker is left alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a reranker is no longer asked (the circuit breaker of Nygard, Release It!, 2007).

    It opens when ``failures`` calls within ``window`` seconds failed and they are at least
    ``share`` of the calls in it and under way: a busy reranker that fails now and then
    is still worth asking. After ``pause`` seconds one search asks again, while the others go on
    without; its success closes the breaker, its failure starts another pause.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    failures: int = 5
    """Failed calls within the window that open it (at least 1)."""
    share: float = 0.5
    """The least share of them among the window's calls and those under way (0 to 1)."""
    window: float = 30.0
    """Seconds that calls are counted for."""
    pause: float = 10.0
    """Seconds in which the reranker is not asked."""

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ConfigurationError("policy.breaker.failures", f"{self.failures} is below 1")
        if not 0 <= self.share <= 1:
            raise ConfigurationError("policy.breaker.share", f"{self.share} is not in 0 to 1")
        for name in ("window", "pause"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigurationError(
                    f"policy.breaker.{name}", f"{seconds} is not a number of seconds above 0"
                )
