"""How relevance and first pass join to the final score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank._checks import in_range, one_of

Method = Literal["confidence", "convex", "rrf", "replace"]


# The methods that `Blend.weight` is for.
WEIGHTED = ("convex", "rrf")


@dataclass(frozen=True, slots=True)
class Blend:
    """How the final score is computed from relevance and first pass.

    ``confidence`` (default) is ``w * r + (1 - w) * f``: r is the relevance, f the first pass (the
    mean of its branches' normalised scores, or a share by rank). w is between 0.3 and 1 and grows
    with the best relevance of the query from 0.79 to 0.935. ``convex`` uses the fixed ``weight``
    instead. ``rrf`` fuses the ranks of reranker and branches, with ``weight`` and 1 - weight.
    ``replace`` is the relevance alone.

    Except for ``replace``, scores are then smoothed over similar documents, the more the less sure
    the reranker is of the query (`smooth_scores`). A reranker without calibration enters them all
    by rank.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Method = "confidence"
    """The formula: ``confidence``, ``convex``, ``rrf`` or ``replace``."""
    weight: float = 0.5
    """The weight of the reranker, for ``convex`` and ``rrf`` (0 to 1)."""
    feedback: float = 0.25
    """The weight of a document's similarity to the three best, beside its own score (0 to 1)."""
    smoothing: float = 0.4
    """The share of the seven most similar documents in a document's score (0 to 1)."""

    @property
    def uses_relevance(self) -> bool:
        """Whether the relevance itself counts, not only the order by it.

        In ``rrf`` it decides how much scores are smoothed.
        """
        return self.method != "replace"

    def __post_init__(self) -> None:
        one_of("policy.blend.method", self.method, get_args(Method))
        for name in ("weight", "feedback", "smoothing"):
            in_range(f"policy.blend.{name}", getattr(self, name), 0, 1)
