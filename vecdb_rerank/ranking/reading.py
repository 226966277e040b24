"""Decide which candidates a reranker reads next, and when the order of the page is settled.

What is not read gets an estimated relevance with a deviation. Reading a document can move it on the
page; what that is expected to gain is its value of information (Howard, 1966; as the knowledge
gradient in Frazier, Powell and Dayanik, 2008). Reading ends when the values add up to little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.model import Candidate
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import blending, smoothing
from vecdb_rerank.ranking.blending import EQUAL, Weights
from vecdb_rerank.ranking.estimates import estimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# Returns the scores of candidates after all stages, and how much each changes with its own before.
After = Callable[[Sequence[float]], "tuple[Array, Array]"]

FIRST = 12  # documents that are read before any estimate
PAGE = 10  # ranks that count: the value of an order is that of its first ten hits


def next_batch(
    candidates: Sequence[Candidate],
    relevance: Sequence[float | None],
    blend: Blend,
    *,
    size: int,
    tolerance: float,
    placed: Collection[int] = (),
    page: int = PAGE,
    weights: Weights = EQUAL,
    after: After | None = None,
) -> list[int]:
    """Return the positions in ``candidates`` to read next, most valuable first; none to stop.

    ``candidates`` are in first-pass order, ``relevance`` is None where one was not read.
    ``placed`` are those on an earlier page, which neither move nor need to be read. The batch
    holds ``size`` documents, the first one at least 12. Reading stops when all that is unread is
    expected to raise the discounted sum of the next ``page`` scores by no more than ``tolerance``
    of its discounts' sum. ``weights`` are those of the branches, by name. ``after`` applies the
    stages of `Policy.after`: the order that counts is the one after them.
    """
    import numpy as np

    unread = [n for n, value in enumerate(relevance) if value is None and n not in placed]
    if not unread:
        return []
    if len(unread) == len(candidates):
        best = promising(candidates, blend, weights, after)
        return best[: max(FIRST, size)]
    worth = gains(candidates, relevance, blend, placed, page, weights, after)[unread]
    if tolerance and worth.sum() <= tolerance:
        return []
    return [unread[n] for n in np.argsort(-worth, kind="stable")[:size]]


def promising(
    candidates: Sequence[Candidate],
    blend: Blend,
    weights: Weights = EQUAL,
    after: After | None = None,
) -> list[int]:
    """Return the positions of ``candidates``, best first by the first pass smoothed over texts."""
    scores = smoothing.smooth_scores(
        blending.first_pass_shares(candidates, weights),
        [candidate.text for candidate in candidates],
        feedback=blend.feedback,
        smoothing=blend.smoothing,
    )
    if after is not None:
        scores = after(scores)[0].tolist()
    return sorted(range(len(candidates)), key=lambda n: -scores[n])


def most_relevant(
    candidates: Sequence[Candidate], relevance: Sequence[float | None], weights: Weights = EQUAL
) -> list[int]:
    """Return the positions of ``candidates`` that were not read, by estimate, best first."""
    if None not in relevance:
        return []
    known, _ = estimate(candidates, relevance, weights)
    unread = [n for n, value in enumerate(relevance) if value is None]
    return sorted(unread, key=lambda n: -known[n])


def gains(
    candidates: Sequence[Candidate],
    relevance: Sequence[float | None],
    blend: Blend,
    placed: Collection[int] = (),
    page: int = PAGE,
    weights: Weights = EQUAL,
    after: After | None = None,
) -> Array:
    """Return what reading each candidate alone is expected to add to the page's value (0 to 1).

    The value of a page is the sum of its scores, each discounted by the logarithm of its rank
    (Jarvelin and Kekalainen, 2002), as a share of the sum of the discounts. Candidates that were
    read gain nothing.
    """
    import numpy as np

    known, deviation = estimate(candidates, relevance, weights)
    values = known.tolist()
    scores = np.array(blending.final_scores(candidates, values, blend, weights))
    spread = np.full(len(candidates), deviation * blending.own_share(candidates, values, blend))
    if after is not None:
        scores, slopes = after(scores.tolist())
        spread *= slopes
    result = np.zeros(len(candidates))
    free = np.array([n for n in range(len(candidates)) if n not in placed])
    unread = np.array([n for n in free if relevance[n] is None])
    last = min(page, len(free) - 1)
    if not last or not len(unread):
        return result
    order = free[np.argsort(-scores[free], kind="stable")]
    place = np.empty(len(candidates), int)
    place[order] = np.arange(len(order))
    discounts = 1 / np.log2(np.arange(2, last + 2))
    drops = discounts - np.append(discounts[1:], 0.0)
    # A document below rank n has to pass the last hit above; one above it, to fall behind the next.
    top = scores[order]
    below = np.arange(last) < place[unread, None]
    distance = np.abs(scores[unread, None] - np.where(below, top[:last], top[1 : last + 1]))
    result[unread] = _expected_excess(distance, spread[unread, None]) @ drops / discounts.sum()
    return result


def _expected_excess(distance: Array, deviation: Array) -> Array:
    """Return the mean of how far a value passes a threshold that its mean is ``distance`` below.

    The value has a logistic distribution, whose excess has a closed form.
    """
    import numpy as np

    scale = np.maximum(deviation, 1e-9) * math.sqrt(3) / math.pi
    result: Array = scale * np.logaddexp(0.0, -distance / scale)
    return result
