"""What a search may cost and what happens when something fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from vecdb_rerank.blending import Blend
from vecdb_rerank.breaker import Breaker
from vecdb_rerank.calibration import Calibration
from vecdb_rerank.candidates import Outcome
from vecdb_rerank.cost import Cost
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.jargon import Jargon
from vecdb_rerank.passages import Passages
from vecdb_rerank.skipping import Skip

OnError = Literal["fallback", "raise"]

_PARTS = {
    "blend": Blend,
    "breaker": Breaker,
    "cost": Cost,
    "skip": Skip,
    "jargon": Jargon,
    "passages": Passages,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one connector's searches.

    ``deadline`` is one budget in seconds over query embedding, first pass and rerank; None
    sets none. ``on_error`` says what a failing reranker does: ``fallback`` keeps the first-pass
    order and says so in the outcome, ``raise`` raises `RerankError`. ``min_relevance`` (0 to
    1) drops scored hits below it, never one that was not scored. ``calibration`` puts
    the relevance of a reranker, by its name, on the common scale. ``blend`` joins relevance and
    first pass to the final score. ``branch_evidence`` brings each candidate's rank and score in
    the BM25 and the dense branch in the same round trip, for the blend to use; without it a
    blend has only the fused order. ``breaker`` says when a failing reranker is left alone; None
    never leaves it. ``cost`` has prices and budgets. ``skip`` has rules by which a search is not
    reranked; ``jargon`` keeps hits with rare exact terms of the query near the top; None leaves
    all to the final score. ``passages`` has long documents read in parts; None reads their
    beginning. ``record_query`` writes the query into traces
    and log records, where it is not otherwise. ``on_outcome`` is called with every `Outcome`; what
    it raises reaches the caller.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    deadline: float | None = 10.0
    on_error: OnError = "fallback"
    min_relevance: float | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    blend: Blend = field(default_factory=Blend)
    branch_evidence: bool = True
    breaker: Breaker | None = field(default_factory=Breaker)
    cost: Cost = field(default_factory=Cost)
    skip: Skip = field(default_factory=Skip)
    jargon: Jargon | None = None
    passages: Passages | None = None
    record_query: bool = False
    on_outcome: Callable[[Outcome], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if part is not None and not isinstance(part, kind):
                raise ConfigurationError(
                    f"policy.{name}: {part!r} is no {kind.__name__}; give {kind.__name__}(...)"
                )
        if self.deadline is not None and not (math.isfinite(self.deadline) and self.deadline > 0):
            raise ConfigurationError(
                f"policy.deadline: {self.deadline} is not a number of seconds above 0"
            )
        if self.on_error not in ("fallback", "raise"):
            raise ConfigurationError(
                f"policy.on_error: {self.on_error!r} is neither 'fallback' nor 'raise'"
            )
        if self.min_relevance is not None and not 0 <= self.min_relevance <= 1:
            raise ConfigurationError(f"policy.min_relevance: {self.min_relevance} is not in 0 to 1")
