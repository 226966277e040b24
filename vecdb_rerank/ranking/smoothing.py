"""Smooth the candidates' scores over similar candidates.

A reranker and a first pass score each document on its own. Documents about the same thing share
words and are relevant together (the cluster hypothesis; Jardine and van Rijsbergen, 1971), so the
scores of similar documents correct each other's errors. Only the texts that the reranker reads are
needed: no extra request and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.ranking.similarity import similarity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Similarity = npt.NDArray[np.float32]

# Similarity among few documents means little: no smoothing up to 5, full from 50.
_NONE_UP_TO, _FULL_FROM = 5, 50
_FEEDBACK_DOCUMENTS = 3  # the best documents, which are assumed to be relevant
_NEIGHBOURS = 7
_MAX_COMPARED = 56  # the best candidates are compared; the others follow
_BELOW = 1 - 1e-9  # the score of the first that follows, as a share of the last compared one's


def smooth_scores(
    scores: Sequence[float], texts: Sequence[str], *, feedback: float, smoothing: float
) -> list[float]:
    """Return the scores (0 to 1) smoothed over similar ``texts``, in the same order.

    First, each score is averaged with its text's similarity to the three best texts, which gets
    the weight ``feedback`` (0 to 1) against 1 (pseudo-relevance feedback). Then, the share
    ``smoothing`` (0 to 1) of each score is replaced by the mean of its seven nearest neighbours
    (score regularisation; Diaz, 2005).

    Both weights scale with the number of scores: none up to 5, full from 50, linear in between.
    Only the 56 best scores are smoothed; the others stay below them, in the same order.
    """
    import numpy as np

    share = strength(len(scores))
    if not (feedback or smoothing) or not share:
        return list(scores)
    result = np.array(scores, float)
    order = np.argsort(-result, kind="stable")
    best, rest = np.sort(order[:_MAX_COMPARED]), order[_MAX_COMPARED:]
    cosines = similarity(tuple(texts[int(n)] for n in best))
    moved = _add_feedback(result[best], cosines, feedback * share)
    smoothed = _average_neighbours(moved, cosines, smoothing * share)
    if len(rest) and result[rest[0]] > 0:
        result[rest] *= min(1.0, smoothed.min() / result[rest[0]] * _BELOW)
    result[best] = smoothed
    values: list[float] = result.tolist()
    return values


def strength(count: int) -> float:
    """Return the share (0 to 1) of both weights that holds for ``count`` scores."""
    return min(1.0, max(0.0, (count - _NONE_UP_TO) / (_FULL_FROM - _NONE_UP_TO)))


def _add_feedback(scores: Array, cosines: Similarity, weight: float) -> Array:
    """Average scores with the normalised similarity to the best documents."""
    import numpy as np

    best = np.argsort(-scores, kind="stable")[:_FEEDBACK_DOCUMENTS]
    gains = cosines[:, best] @ scores[best]
    spread = np.ptp(gains)
    if not spread:
        return scores
    result: Array = (scores + weight * (gains - gains.min()) / spread) / (1 + weight)
    return result


def _average_neighbours(scores: Array, cosines: Similarity, share: float) -> Array:
    """Replace a share of each score by the mean of its neighbours, weighted by similarity."""
    import numpy as np

    others = cosines.copy()
    np.fill_diagonal(others, 0)
    first = max(0, len(others) - _NEIGHBOURS)
    nearest = np.argpartition(others, first, axis=1)[:, first:]
    weights = np.take_along_axis(others, nearest, axis=1)
    total = weights.sum(axis=1)
    means = (weights * scores[nearest]).sum(axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, (1 - share) * scores + share * means, scores)
