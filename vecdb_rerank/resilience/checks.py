"""Checks on a reranker's answers, and its errors as ours."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from vecdb_rerank.errors import (
    InvalidRerankerError,
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
    VecdbRerankError,
)
from vecdb_rerank.model import Scores

log = logging.getLogger("vecdb_rerank")
# How far outside 0 to 1 a relevance may be by rounding, as that of a model in 16 bits is.
_ROUNDING = 1e-3


def scores_of(answer: object, count: int, name: str) -> Scores:
    """Return what a third-party reranker returned, as `Scores`.

    Raises `InvalidRerankerError` unless it is `Scores`, or one number or None for each text.
    """
    if isinstance(answer, Scores):
        return answer
    if hasattr(answer, "tolist"):  # an array or a tensor
        answer = answer.tolist()
    if not isinstance(answer, Sequence) or not all(map(_is_number, answer)):
        raise InvalidRerankerError(
            "reranker",
            f"{name} returned {_described(answer)}; return one relevance (0 to 1) per text, "
            "or Scores",
        )
    if len(answer) != count:
        raise InvalidRerankerError(
            "reranker", f"{name} returned {len(answer)} relevances for {count} texts"
        )
    if any(value is not None and _clipped(value) is None for value in answer):
        raise InvalidRerankerError(
            "reranker",
            f"{name} returned a relevance outside 0 to 1; return Scores.from_logits(...) "
            "if these are logits",
        )
    return Scores.from_relevance(answer)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _described(answer: object) -> str:
    """The type alone: the value may hold the query or a document."""
    return type(answer).__name__


def check_scores(scores: Scores, count: int) -> Scores:
    """Return ``scores`` with relevances that are off by rounding clipped to 0 to 1.

    Raises `RerankError` for any other answer that must not become a ranking.
    """
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if len(values) != count:
            raise RerankError(f"{len(values)} {name} came back for {count} documents")
        if any(value is not None and not math.isfinite(value) for value in values):
            raise RerankError(f"one of the {name} is not a finite number")
    if any((s is None) != (r is None) for s, r in zip(scores.raw, scores.relevance, strict=True)):
        raise RerankError("a document has a score or a relevance, but not both")
    relevance = [None if value is None else _clipped(value) for value in scores.relevance]
    if relevance.count(None) != list(scores.relevance).count(None):
        raise RerankError("a relevance is not in 0 to 1")
    pairs = zip(scores.raw, relevance, strict=True)
    best_first = sorted(((s, r) for s, r in pairs if s is not None and r is not None), reverse=True)
    if any(later > earlier for (_, earlier), (_, later) in pairwise(best_first)):
        raise RerankError("a relevance does not rise with its score")
    return scores if relevance == list(scores.relevance) else replace(scores, relevance=relevance)


def _clipped(relevance: float) -> float | None:
    """The relevance in 0 to 1; None if it is outside by more than rounding."""
    if not -_ROUNDING <= relevance <= 1 + _ROUNDING:
        return None
    return min(1.0, max(0.0, relevance))


def log_and_convert(error: Exception, name: str) -> RerankError:
    """Log a failed rerank and return it as a `RerankError`."""
    converted = as_rerank_error(error, name)
    level = logging.DEBUG if isinstance(converted, RerankerSkippedError) else logging.WARNING
    log.log(level, "reranking with %s failed: %s", name, converted)
    return converted


def as_rerank_error(error: Exception, name: str) -> RerankError:
    """Return a failed rerank as a `RerankError`, with the foreign error as its cause."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, TimeoutError):
        converted: RerankError = RerankTimeoutError(f"{name} did not answer in time")
    elif isinstance(error, VecdbRerankError):
        converted = RerankError(f"{name}: {error}")
    else:
        # The type alone: the message of a foreign error may hold the query or a document.
        converted = RerankError(f"{name} failed with {type(error).__name__}")
    converted.__cause__ = error
    return converted
