"""How relevance and first pass join to the final score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vecdb_rerank.errors import ConfigurationError

Method = Literal["confidence", "convex", "rrf", "replace"]


# The methods that `Blend.weight` is for.
WEIGHTED = ("convex", "rrf")


@dataclass(frozen=True, slots=True)
class Blend:
    """How the final score comes from relevance and first pass.

    ``confidence`` (default) is ``w * r + (1 - w) * f``: r the relevance, f the first pass (the
    mean of its branches' normalised scores, or a share by rank), and w between 0.3 and 1, growing
    with the best relevance of the query from 0.79 to 0.935. ``convex`` is the same with the fixed
    ``weight``. ``rrf`` fuses
    the ranks of reranker and branches, the reranker's with ``weight`` against 1 - weight.
    ``replace`` is the relevance alone.

    Except for ``replace``, the documents' likeness to each other then corrects the scores, the
    more the less sure the reranker is of the query (`smooth_scores`).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    method: Method = "confidence"
    """The formula."""
    weight: float = 0.5
    """The reranker's, for ``convex`` and ``rrf`` (0 to 1)."""
    feedback: float = 0.25
    """The weight of a document's likeness to the three best, against its own score (0 to 1)."""
    smoothing: float = 0.4
    """The share of its nearest neighbours in a document's score (0 to 1)."""

    @property
    def uses_relevance(self) -> bool:
        """Whether the relevance itself counts, not only the order by it."""
        return self.method in ("confidence", "convex")

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            allowed = ", ".join(get_args(Method))
            raise ConfigurationError("blend.method", f"{self.method!r} is none of {allowed}")
        for name in ("weight", "feedback", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"blend.{name}", f"{getattr(self, name)} is not in 0 to 1")
