"""Estimate the relevance of documents that a reranker did not read, from those that it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.model import Candidate, Estimate
from vecdb_rerank.ranking.blending import EQUAL, Weights, first_pass_shares
from vecdb_rerank.ranking.similarity import MAX_TEXTS, similarity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# What a document has in common with no document that was read, beside its similarities to them.
_ELSEWHERE = 0.3
# Few residuals say little of their spread: it starts as this many of this size.
_PRIOR_COUNT, _PRIOR_DEVIATION = 4, 0.15
# A 90 % interval of a logistic distribution, in standard deviations.
_INTERVAL = 1.62


def estimates(
    candidates: Sequence[Candidate], relevance: Sequence[float | None], weights: Weights = EQUAL
) -> list[Estimate | None]:
    """Return an estimate for each of ``candidates`` whose relevance is None, and None for others.

    ``candidates`` are in first-pass order and have text, ``weights`` are those of the branches.
    Without any relevance, all are None.
    """
    if None not in relevance or all(value is None for value in relevance):
        return [None] * len(candidates)
    mean, deviation = estimate(candidates, relevance, weights)
    reach = _INTERVAL * deviation
    return [
        Estimate(value, max(0.0, value - reach), min(1.0, value + reach)) if given is None else None
        for value, given in zip(mean.tolist(), relevance, strict=True)
    ]


def estimate(
    candidates: Sequence[Candidate], relevance: Sequence[float | None], weights: Weights = EQUAL
) -> tuple[Array, float]:
    """Return the relevance of all candidates, estimated where it is None, and its deviation.

    At least one relevance must be given. A line is fitted to the known ones over the first-pass
    share, with a slope of at least 0. An estimate is the line plus the mean of the known residuals,
    weighted by similarity. The standard deviation is that of the residuals, each estimated from
    the others.
    """
    import numpy as np

    values = np.array([np.nan if value is None else value for value in relevance])
    read = ~np.isnan(values)
    known = values[read]
    line, leverage = _line(np.array(first_pass_shares(candidates, weights)), values, read)
    residuals = known - line[read]
    near = similarities(candidates)[:, read].astype(float)
    result = line + _mean(near, residuals)
    result = np.where(read, values, np.clip(result, 0.0, known.max()))
    others = near[read]
    np.fill_diagonal(others, 0.0)
    errors = (residuals - _mean(others, residuals)) / (1 - leverage)
    total = float(np.square(errors).sum()) + _PRIOR_COUNT * _PRIOR_DEVIATION**2
    return result, (total / (len(known) + _PRIOR_COUNT)) ** 0.5


def similarities(candidates: Sequence[Candidate]) -> Array:
    """Return the similarity of each pair, 0 from the 129th candidate on."""
    import numpy as np

    compared = similarity(tuple(candidate.text for candidate in candidates[:MAX_TEXTS]))
    result = np.zeros((len(candidates), len(candidates)))
    result[: len(compared), : len(compared)] = compared
    return result


def _line(shares: Array, values: Array, read: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the least-squares line over ``shares``, and how far each known value pulls it."""
    import numpy as np

    x, y = shares[read], values[read]
    mean, centred = x.mean(), x - x.mean()
    variance = float(np.square(centred).sum())
    slope = max(0.0, float(centred @ y) / variance) if variance > 1e-12 else 0.0
    pull = 1 / len(x) + (np.square(centred) / variance if variance > 1e-12 else 0.0)
    return y.mean() + slope * (shares - mean), np.minimum(0.9, pull)


def _mean(weights: Array, residuals: Array) -> Array:
    result: Array = weights @ residuals / (weights.sum(axis=1) + _ELSEWHERE)
    return result
