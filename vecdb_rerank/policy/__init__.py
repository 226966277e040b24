"""What a search may cost and what happens when something fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.passages import Passages
from vecdb_rerank.policy.skip import Skip

OnError = Literal["fallback", "raise"]

_PARTS = {
    "blend": Blend,
    "breaker": Breaker,
    "cost": Cost,
    "skip": Skip,
    "exact_terms": ExactTerms,
    "passages": Passages,
}
_MAY_BE_NONE = {"breaker", "exact_terms", "passages"}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one connector's searches.

    Raises `ConfigurationError` where a value is outside its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    deadline: float | None = 10.0
    """Seconds over query embedding, first pass and rerank together; None sets no limit."""
    on_error: OnError = "fallback"
    """A failing reranker ``fallback``s to the first-pass order, or ``raise``s `RerankError`."""
    min_relevance: float | None = None
    """Drops scored hits below it (0 to 1), never one that was not scored."""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    """Puts the relevance of a reranker, by its name, on the common scale."""
    blend: Blend = field(default_factory=Blend)
    """How relevance and first pass join to the final score."""
    branch_evidence: bool = True
    """Bring each candidate's rank and score in both branches, in the same round trip.

    Without it a blend has only the fused order.
    """
    breaker: Breaker | None = field(default_factory=Breaker)
    """When a failing reranker is left alone; None never leaves it."""
    cost: Cost = field(default_factory=Cost)
    """Prices and budgets."""
    skip: Skip = field(default_factory=Skip)
    """Rules by which a search is not reranked."""
    exact_terms: ExactTerms | None = None
    """Keeps hits with rare exact terms of the query near the top; None leaves all to the score."""
    passages: Passages | None = None
    """How long documents are read in parts; None reads their beginning."""
    record_query: bool = False
    """Write the query into traces and log records, where it is not otherwise."""
    on_outcome: Callable[[Outcome], None] | None = field(default=None, repr=False)
    """Called with every `Outcome`; what it raises reaches the caller."""

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind) and not (part is None and name in _MAY_BE_NONE):
                raise ConfigurationError(
                    f"policy.{name}", f"must be {kind.__name__}(...), got {part!r}"
                )
        for name, calibration in self.calibration.items():
            if not isinstance(calibration, Calibration):
                raise ConfigurationError(
                    f"policy.calibration.{name}", f"must be Calibration(...), got {calibration!r}"
                )
        if self.deadline is not None and not (math.isfinite(self.deadline) and self.deadline > 0):
            raise ConfigurationError(
                "policy.deadline", f"{self.deadline} is not a number of seconds above 0"
            )
        if self.on_error not in ("fallback", "raise"):
            raise ConfigurationError(
                "policy.on_error", f"{self.on_error!r} is neither 'fallback' nor 'raise'"
            )
        if self.min_relevance is not None and not 0 <= self.min_relevance <= 1:
            raise ConfigurationError(
                "policy.min_relevance", f"{self.min_relevance} is not in 0 to 1"
            )
