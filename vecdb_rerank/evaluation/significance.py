"""Whether a change is more than chance: paired over queries."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vecdb_rerank._optional import require

ROUNDS = 2_000
ENOUGH = 20  # queries, below which an interval promises too much
SAME = 1e-9  # differences below are rounding


@dataclass(frozen=True, slots=True)
class Paired:
    """How the same queries do under two systems, by one metric.

    ``change`` is the mean difference, ``interval`` holds 95 % of its bootstrap means, ``p`` is
    that of a two-sided randomisation test. ``wins``, ``losses`` and ``ties`` count queries.
    """

    change: float
    interval: tuple[float, float]
    p: float
    wins: int
    losses: int
    ties: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        low, high = self.interval
        return low > 0 or high < 0


def paired(changes: Sequence[float]) -> Paired:
    """The comparison of two systems by their difference for each query (at least one)."""
    wins = sum(change > SAME for change in changes)
    losses = sum(change < -SAME for change in changes)
    return Paired(
        change=statistics.fmean(changes),
        interval=bootstrap(changes),
        p=randomisation(changes),
        wins=wins,
        losses=losses,
        ties=len(changes) - wins - losses,
    )


def bootstrap(changes: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of paired changes, by resampling; the same every time.

    The percentile interval of Efron (1979).
    """
    chance = random.Random(0)
    count = len(changes)
    means = [statistics.fmean(chance.choices(changes, k=count)) for _ in range(ROUNDS)]
    cuts = statistics.quantiles(means, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def randomisation(changes: Sequence[float]) -> float:
    """How often a change as large comes from chance alone (0 to 1), whichever its direction.

    Fisher's randomisation test, which Smucker et al. (2007) recommend for retrieval: each query's
    change counts with a random sign. The same every time.
    """
    if not any(abs(change) > SAME for change in changes):
        return 1.0
    stats, numpy = require("scipy.stats", "evaluation"), require("numpy", "evaluation")
    found = stats.permutation_test(
        (numpy.asarray(changes),),
        numpy.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=0,
    )
    return float(found.pvalue)
