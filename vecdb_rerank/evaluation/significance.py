"""Test whether a change is more than chance, paired over queries."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from vecdb_rerank._optional import require

RESAMPLES = 2_000
MIN_QUERIES = 30  # with fewer, an interval is not reliable
MIN_CHANGED = 6  # queries; of n changes, p is at least 2 / 2**n, so 0.0625 with five
ROUNDING = 1e-9  # smaller differences are rounding errors


class PairedDict(TypedDict):
    """A `Paired` as plain values; ``interval`` has two numbers."""

    change: float
    interval: Sequence[float]
    p: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Paired:
    """The comparison of two systems over the same queries, by one metric.

    ``change`` is the mean difference, ``interval`` its 95 % bootstrap interval, ``p`` the p-value
    of a two-sided randomisation test. ``wins``, ``losses`` and ``ties`` count queries.
    """

    change: float
    interval: tuple[float, float]
    p: float
    wins: int
    losses: int
    ties: int

    def as_dict(self) -> PairedDict:
        """Return the numbers as plain values."""
        return {
            "change": self.change,
            "interval": self.interval,
            "p": self.p,
            "wins": self.wins,
            "losses": self.losses,
            "ties": self.ties,
        }


def too_few(queries: int) -> str:
    """Return a warning if so many queries decide little, else nothing."""
    if queries >= MIN_QUERIES:
        return ""
    counted = "1 judged query is" if queries == 1 else f"{queries} judged queries are"
    return f"{counted} too few to rely on: judge at least {MIN_QUERIES}."


def paired(changes: Sequence[float]) -> Paired:
    """Compare two systems by their difference for each query (at least one query)."""
    wins = sum(change > ROUNDING for change in changes)
    losses = sum(change < -ROUNDING for change in changes)
    return Paired(
        change=statistics.fmean(changes),
        interval=bootstrap(changes),
        p=randomisation(changes),
        wins=wins,
        losses=losses,
        ties=len(changes) - wins - losses,
    )


def bootstrap(changes: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired changes: Efron's (1979) percentile interval.

    The same changes always give the same interval.
    """
    chance = np.random.default_rng(0)
    values = np.asarray(changes)
    means = [values[chance.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def randomisation(changes: Sequence[float]) -> float:
    """Return the probability (0 to 1) that chance alone gives so large a change, up or down.

    Fisher's randomisation test, which Smucker et al. (2007) recommend for retrieval: each query's
    change gets a random sign. The same changes always give the same probability.
    """
    if not any(abs(change) > ROUNDING for change in changes):
        return 1.0
    stats = require("scipy.stats", "evaluation")
    found = stats.permutation_test(
        (np.asarray(changes),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=0,
    )
    return float(found.pvalue)
