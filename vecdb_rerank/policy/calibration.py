"""One scale of relevance for all rerankers: what a model says, as a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import Scores, sigmoid

_LOGIT_BOUND = 36.0  # beyond, a relevance is 0.0 or 1.0 in a double


@dataclass(frozen=True, slots=True)
class Calibration:
    """``sigmoid(slope * logit + intercept)``, fitted to judged pairs (Platt, 1999).

    The logit is that of the relevance the reranker gives by itself. With a slope above 0, the
    order stays as it is.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    slope: float = 1.0
    """How much the logit counts (above 0)."""
    intercept: float = 0.0
    """Added to it."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0):
            raise ConfigurationError("policy.calibration.slope", f"{self.slope} is not above 0")
        if not math.isfinite(self.intercept):
            raise ConfigurationError(
                "policy.calibration.intercept", f"{self.intercept} is no number"
            )

    def relevance(self, given: float) -> float:
        """A relevance (0 to 1) on the common scale."""
        return sigmoid(self.slope * logit(given) + self.intercept)

    def scores(self, scores: Scores) -> Scores:
        """``scores`` with their relevance on the common scale; raw scores stay."""
        common = [None if given is None else self.relevance(given) for given in scores.relevance]
        return replace(scores, relevance=common, calibrated=True)


def logit(relevance: float) -> float:
    """The inverse of the logistic function, bounded where a double cannot tell."""
    if relevance <= 0.0:
        return -_LOGIT_BOUND
    if relevance >= 1.0:
        return _LOGIT_BOUND
    return max(-_LOGIT_BOUND, min(_LOGIT_BOUND, math.log(relevance / (1.0 - relevance))))


# Of ms-marco-MiniLM-L-12-v2, over seven collections (docs/quality.md).
MS_MARCO_MINILM = Calibration(1 / 3, -2 / 3)
