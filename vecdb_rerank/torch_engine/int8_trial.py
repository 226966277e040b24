"""Check when a model loads whether its int8 weights score as its float32 weights do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from vecdb_rerank.tokenization.pairs import Pair, PairEncoder

_QUERIES = ("how do plants make food", "What is the capital of France?")
_DOCUMENTS = (
    "Plants make sugar from water, carbon dioxide and sunlight, which is called photosynthesis.",
    "Paris is the capital and the largest city of France.",
    "The train to the airport leaves at 5:40 and costs 12.50 euros; children travel for free.",
    "Error 404: the file was not found.",
)
_MEAN = 0.05  # of the spread of the float32 logits
_LARGEST = 0.2


def trial_pairs(encoder: PairEncoder) -> list[Pair]:
    """Return the pairs of each query with each document."""
    documents = encoder.documents(_DOCUMENTS)
    return [pair for query in _QUERIES for pair in encoder.pairs(encoder.query(query), documents)]


def agrees(expected: Sequence[float], found: Sequence[float]) -> bool:
    """Check whether logits ``found`` differ little from ``expected``, and order pairs alike.

    Little is 5 % of the spread of ``expected`` in the mean, and 20 % at most. Pairs that are closer
    than twice the mean may change places.
    """
    spread = max(expected) - min(expected)
    apart = [abs(a - b) for a, b in zip(expected, found, strict=True)]
    mean = sum(apart) / len(apart)
    if not (mean <= _MEAN * spread and max(apart) <= _LARGEST * spread):  # also if NaN
        return False
    both = combinations(zip(expected, found, strict=True), 2)
    return all((a - b) * (x - y) > 0 for (a, x), (b, y) in both if abs(a - b) > 2 * mean)
