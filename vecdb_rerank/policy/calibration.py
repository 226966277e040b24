"""One scale of relevance for all rerankers: a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from vecdb_rerank._checks import above, finite
from vecdb_rerank.model import Scores, sigmoid

_LOGIT_BOUND = 36.0  # beyond, a relevance is 0.0 or 1.0 in a double


@dataclass(frozen=True, slots=True)
class Calibration:
    """``sigmoid(slope * logit + intercept)``, fitted to judged pairs (Platt, 1999).

    The logit is that of the relevance that the reranker returns. The slope is above 0, so the order
    stays the same.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    slope: float = 1.0
    """The factor of the logit (above 0)."""
    intercept: float = 0.0
    """The constant that is added."""

    def __post_init__(self) -> None:
        above("policy.calibration.slope", self.slope, 0)
        finite("policy.calibration.intercept", self.intercept)

    def relevance(self, given: float) -> float:
        """Return a relevance (0 to 1) on the common scale."""
        return sigmoid(self.slope * logit(given) + self.intercept)

    def scores(self, scores: Scores) -> Scores:
        """Return ``scores`` with their relevance on the common scale, raw scores unchanged."""
        common = [None if given is None else self.relevance(given) for given in scores.relevance]
        return replace(scores, relevance=common, calibrated=True)


def logit(relevance: float) -> float:
    """Return the inverse of the logistic function, bounded to what a double can represent."""
    if relevance <= 0.0:
        return -_LOGIT_BOUND
    if relevance >= 1.0:
        return _LOGIT_BOUND
    return max(-_LOGIT_BOUND, min(_LOGIT_BOUND, math.log(relevance / (1.0 - relevance))))


# Of ms-marco-MiniLM-L-12-v2, over seven collections (benchmarks/NOTES.md).
MS_MARCO_MINILM = Calibration(1 / 3, -2 / 3)
