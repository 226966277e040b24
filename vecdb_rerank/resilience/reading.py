"""Which texts of a search a reranker reads, and in which calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from vecdb_rerank.model import Scores, Span
from vecdb_rerank.protocols import BaseReranker


class Reading(Protocol):
    """Decides which texts are read; each reranker of a chain starts anew."""

    def start(self, reranker: BaseReranker) -> None:
        """Forget what another reranker has read; ``reranker`` is called next."""

    def next(self, scores: Scores) -> Sequence[int]:
        """Return the indices of the texts to read next, given the ``scores`` so far; none to end.

        Both are in the order of the texts.
        """
        ...


class ReadAll:
    """Reads all texts in one call."""

    def start(self, reranker: BaseReranker) -> None:
        """Do nothing: there is nothing to forget."""

    def next(self, scores: Scores) -> Sequence[int]:
        """Return all indices before anything is scored."""
        return () if any_scored(scores) else range(len(scores.raw))


def joined(scores: Scores, part: Scores, indices: Sequence[int]) -> Scores:
    """Return ``scores`` with those of the texts at ``indices``."""
    if len(indices) == len(scores.raw) and list(indices) == list(range(len(indices))):
        return part
    raw, relevance = list(scores.raw), list(scores.relevance)
    passages: list[Span | None] = list(scores.passages) or [None] * len(raw)
    for n, one, value in zip(indices, part.raw, part.relevance, strict=True):
        raw[n], relevance[n] = one, value
    for n, span in zip(indices, part.passages, strict=False):
        passages[n] = span
    return replace(
        part,
        raw=raw,
        relevance=relevance,
        truncated=scores.truncated + part.truncated,
        billed=scores.billed + part.billed,
        passages=passages if scores.passages or part.passages else (),
        failed={**scores.failed, **part.failed},
        notes={**scores.notes, **part.notes},
        # Parts on different scales are comparable by the raw scores alone.
        calibrated=part.calibrated and (scores.calibrated or not any_scored(scores)),
    )


def any_scored(scores: Scores) -> bool:
    """Check whether any text has been scored."""
    return any(raw is not None for raw in scores.raw)
