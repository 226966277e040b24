"""Candidates that resemble each other are relevant together: scores by those of neighbours.

Rerankers and first passes judge every document alone, and err alone. Documents about one thing
share its words, so what they say of each other evens such errors out (the cluster hypothesis;
Jardine and van Rijsbergen, 1971). Only the texts that the reranker read are needed: no request
more, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.ranking.similarity import similarity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

_FEW, _ENOUGH = 5, 50  # documents: none and all of the correction
_BEST = 3  # documents that are taken for relevant
_NEAREST = 7  # neighbours that a score is smoothed by
_MOST = 56  # candidates that are compared; what comes after them stays after them,
_BELOW = 1 - 1e-9  # at scores this far below


def smooth_scores(
    scores: Sequence[float], texts: Sequence[str], *, feedback: float, smoothing: float
) -> list[float]:
    """``scores`` (0 to 1) of ``texts``, in their order, with what their neighbours say.

    First each gains by its similarity to the three best, with the weight ``feedback`` (0 to 1)
    against its own score (pseudo-relevance feedback); then it goes towards the mean of its seven
    nearest neighbours by the share ``smoothing`` (0 to 1; regularised scores, Diaz, 2005). Only
    the 56 best are compared, the others stay after them. Scores stay in 0 to 1.

    Few documents tell little of each other: both weights count in full from 50 documents on, and
    not at all up to five.
    """
    import numpy as np

    told = min(1.0, (len(scores) - _FEW) / (_ENOUGH - _FEW))
    if not (feedback or smoothing) or told <= 0:
        return list(scores)
    given = np.array(scores, float)
    order = np.argsort(-given, kind="stable")
    best, rest = np.sort(order[:_MOST]), order[_MOST:]
    alike = similarity(tuple(texts[int(n)] for n in best))
    found = _smoothed(_fed_back(given[best], alike, feedback * told), alike, smoothing * told)
    if len(rest) and given[rest[0]] > 0:
        given[rest] *= min(1.0, found.min() / given[rest[0]] * _BELOW)
    given[best] = found
    result: list[float] = given.tolist()
    return result


def _fed_back(scores: Array, alike: Array, weight: float) -> Array:
    """Scores with the similarity to the best documents, by their scores."""
    import numpy as np

    best = np.argsort(-scores, kind="stable")[:_BEST]
    gained = alike[:, best] @ scores[best]
    spread = np.ptp(gained)
    if not spread:
        return scores
    return (scores + weight * (gained - gained.min()) / spread) / (1 + weight)


def _smoothed(scores: Array, alike: Array, share: float) -> Array:
    """Scores on their way to the mean of their nearest neighbours, weighted by similarity."""
    import numpy as np

    others = alike.copy()
    np.fill_diagonal(others, 0)
    least = max(0, len(others) - _NEAREST)
    nearest = np.argpartition(others, least, axis=1)[:, least:]
    weights = np.take_along_axis(others, nearest, axis=1)
    total = weights.sum(axis=1)
    theirs = (weights * scores[nearest]).sum(axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, (1 - share) * scores + share * theirs, scores)
