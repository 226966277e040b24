"""Prices and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from vecdb_rerank._checks import at_least, is_mapping


@dataclass(frozen=True, slots=True)
class Cost:
    """Prices of billed units, and budgets.

    Units are the service's own: Cohere's search units, Jina's and Voyage's tokens. The currency is
    yours. A call that would exceed a budget is not made, and the next reranker of the chain is
    called. Before a call its units are predicted: by tokens, four characters each, and for Cohere
    by chunks of 500 tokens (the page "Pricing"). Requests that were late stay counted in the
    budgets of their minute and day, since the service may bill them.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    prices: Mapping[str, float] = field(default_factory=dict)
    """Price of a unit by reranker name, as in the outcome: ``{"cohere:rerank-v3.5": 0.002}``."""
    per_minute: float | None = None
    """Budget of a calendar minute in this process; None for no limit."""
    per_day: float | None = None
    """Budget of a UTC day in this process; None for no limit."""

    def __post_init__(self) -> None:
        is_mapping("policy.cost.prices", self.prices)
        for name, price in self.prices.items():
            at_least(f"policy.cost.prices.{name}", price, 0)
        for name, budget in (("per_minute", self.per_minute), ("per_day", self.per_day)):
            if budget is not None:
                at_least(f"policy.cost.{name}", budget, 0)

    @property
    def has_budget(self) -> bool:
        """Whether there is any budget."""
        return self.per_minute is not None or self.per_day is not None

    def of(self, units: Mapping[str, float]) -> float:
        """Return the price of units by reranker; a reranker without a price costs nothing."""
        return sum(self.prices.get(name, 0.0) * count for name, count in units.items())
