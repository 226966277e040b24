"""Apply the stages of `policy.after` to a window in final order: pure functions.

Boosts, decays and signals multiply and add to scores, and hits are sorted again. The other stages
decide places: the scores are then dealt out again, the n-th best to the n-th place. So scores
never increase down the list, and each stage finds them on the scale of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vecdb_rerank.model import RankedHit, Ranking
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.blending import BEST_BY_RANK, RANK_CONSTANT, RRF_CONSTANT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Order = list[int]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage prepared for the candidates of one search.

    ``factors`` and ``addends`` change scores; ``reorder(order, scores, placed)`` returns the places
    instead. ``values`` are what `explain` shows of each candidate, ``fixed`` those whose place does
    not depend on their score.
    """

    name: str
    factors: Array | None = None
    addends: Array | None = None
    reorder: Callable[[Order, Array, Sequence[int]], Order] | None = None
    values: Sequence[float | None] = ()
    fixed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Traced:
    """The order and the scores after one stage."""

    step: Step
    order: Order
    scores: Array


@dataclass(frozen=True, slots=True)
class Prepared:
    """The stages of a policy, prepared for the ``count`` candidates of one search."""

    count: int
    steps: tuple[Step, ...]

    def apply(
        self,
        order: Sequence[int],
        scores: Array,
        placed: Sequence[int] = (),
        trace: list[Traced] | None = None,
    ) -> tuple[Order, Array]:
        """Return the order of candidates after all stages, and the score of every candidate.

        ``order`` holds candidates by their number, best first by their ``scores``. Those that are
        ``placed`` come before and stay there; variety is counted from them on. ``trace`` gets the
        state after each stage.
        """
        import numpy as np

        places, result = list(order), np.array(scores, float)
        for step in self.steps:
            if step.reorder is None:
                result = _changed(result, step)
                places = [places[n] for n in np.argsort(-result[places], kind="stable")]
            else:
                dealt = result[places]
                places = step.reorder(places, result, placed)
                result = result.copy()
                result[places] = dealt
            if trace is not None:
                trace.append(Traced(step, places, result))
        return places, result

    def slopes(self) -> Array:
        """Return how much each candidate's final score changes with its score before (0 or more).

        Stages that decide places leave it as it is, except for candidates whose place is fixed.
        """
        import numpy as np

        result = np.ones(self.count)
        for step in self.steps:
            if step.factors is not None:
                result *= step.factors
            result[list(step.fixed)] = 0.0
        return result


def on_scale(scores: Sequence[float], blend: Blend, *, calibrated: bool) -> list[float]:
    """Return final scores, best first, on the scale from 0 to 1 that stages work on.

    Without a blend, scores that are not calibrated enter by rank.
    """
    if blend.method == "rrf":  # the best possible score is 1 / (constant + 1)
        return [score * (RRF_CONSTANT + 1) for score in scores]
    if blend.method == "replace" and not calibrated:
        return [BEST_BY_RANK / math.sqrt(rank) for rank in range(1, len(scores) + 1)]
    return list(scores)


def by_rank(count: int) -> list[float]:
    """Return scores for ``count`` hits of a first pass that was not reranked."""
    return [RANK_CONSTANT / (RANK_CONSTANT + rank) for rank in range(count)]


def arrange(
    hits: Mapping[int, RankedHit],
    scores: Sequence[float],
    prepared: Prepared,
    placed: Sequence[int] = (),
    trace: list[Traced] | None = None,
) -> Ranking | None:
    """Return the ranking of ``hits`` after all stages; None if they change nothing.

    ``hits`` are in final order, by the number of their candidate, with their ``scores``. Those that
    are ``placed`` come first.
    """
    import numpy as np

    given = np.zeros(prepared.count)
    given[list(hits)] = scores
    settled = set(placed)
    order = [n for n in hits if n not in settled]
    places, result = prepared.apply(order, given, placed, trace)
    if places == order and np.array_equal(result, given):
        return None
    final: list[float] = result.tolist()
    return Ranking.of(hits[n].with_score(final[n]) for n in (*placed, *places))


def _changed(scores: Array, step: Step) -> Array:
    import numpy as np

    if step.factors is not None:  # a factor would turn a score below 0 the other way round
        scores = np.where(scores > 0, scores * step.factors, scores)
    return scores if step.addends is None else scores + step.addends
