"""Prices and budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Cost:
    """Prices of billed units, and budgets.

    The unit is the service's own: Cohere's search units, Jina's and Voyage's tokens. The currency
    is yours. A call that would go over a budget is not made, and the next reranker of the chain is
    asked.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    prices: Mapping[str, float] = field(default_factory=dict)
    """Of a unit, by the reranker's name in the outcome: ``{"cohere:rerank-v3.5": 0.002}``."""
    per_minute: float | None = None
    """The budget of a calendar minute in this process; None sets none."""
    per_day: float | None = None
    """The budget of a UTC day in this process; None sets none."""

    def __post_init__(self) -> None:
        for name, price in self.prices.items():
            if not (math.isfinite(price) and price >= 0):
                raise ConfigurationError(f"policy.cost.prices.{name}", f"{price} is no price")
        for name in ("per_minute", "per_day"):
            budget = getattr(self, name)
            if budget is not None and not (math.isfinite(budget) and budget >= 0):
                raise ConfigurationError(f"policy.cost.{name}", f"{budget} is no amount from 0")

    @property
    def has_budget(self) -> bool:
        """Whether anything is limited."""
        return self.per_minute is not None or self.per_day is not None

    def of(self, units: Mapping[str, float]) -> float:
        """The price of units by reranker; those without a price cost nothing."""
        return sum(self.prices.get(name, 0.0) * count for name, count in units.items())
