"""Checks on a reranker's answers, and its errors as ours."""

from __future__ import annotations

import logging
import math
import numbers
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
from vecdb_rerank.model import Scores, clip_relevance

log = logging.getLogger("vecdb_rerank")


def scores_of(answer: object, count: int, name: str) -> Scores:
    """Return what a reranker returned for ``count`` texts, as `Scores` of Python floats.

    Raises `InvalidRerankerError` unless it is `Scores`, or one number or None for each text, with
    every relevance in 0 to 1.
    """
    if isinstance(answer, Scores):
        raw = _floats(answer.raw, count, name)
        is_same = answer.relevance is answer.raw
        scores = replace(
            answer, raw=raw, relevance=raw if is_same else _floats(answer.relevance, count, name)
        )
    else:
        scores = Scores.from_relevance(_floats(answer, count, name))
    if any(
        value is not None and clip_relevance(value) is None and math.isfinite(value)
        for value in scores.relevance
    ):
        raise InvalidRerankerError(
            "reranker",
            f"{name} returned a relevance outside 0 to 1; return Scores.from_logits(...) "
            "if these are logits, else map them to 0 to 1 (divide percentages by 100)",
        )
    return scores


def _floats(values: object, count: int, name: str) -> list[float | None]:
    """Return one float or None for each text; raise `InvalidRerankerError` for anything else."""
    if hasattr(values, "tolist"):  # an array or a tensor
        values = values.tolist()
    if not isinstance(values, Sequence) or not all(map(_is_number, values)):
        raise InvalidRerankerError(
            "reranker",
            f"{name} returned {_described(values)}; return one relevance (0 to 1) per text, "
            "or Scores",
        )
    if len(values) != count:
        raise InvalidRerankerError(
            "reranker", f"{name} returned {len(values)} scores for {count} texts"
        )
    try:
        return [None if value is None else float(value) for value in values]
    except OverflowError:
        raise InvalidRerankerError(
            "reranker", f"{name} returned an integer that is no score"
        ) from None


def _is_number(value: object) -> bool:
    if value is None or type(value) is float:
        return True
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _described(answer: object) -> str:
    """The types alone: the value may hold the query or a document."""
    kind = type(answer).__name__
    if isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
        wrong = next(value for value in answer if not _is_number(value))
        return f"a {kind} with a {type(wrong).__name__} in it"
    return kind


def check_scores(scores: Scores) -> Scores:
    """Return ``scores`` with relevances that are off by rounding clipped to 0 to 1.

    Raises `RerankError` for numbers that must not become a ranking.
    """
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if any(value is not None and not math.isfinite(value) for value in values):
            raise RerankError(f"one of the {name} is not a finite number")
    if any((s is None) != (r is None) for s, r in zip(scores.raw, scores.relevance, strict=True)):
        raise RerankError("a document has a score or a relevance, but not both")
    relevance = [None if value is None else clip_relevance(value) for value in scores.relevance]
    pairs = zip(scores.raw, relevance, strict=True)
    best_first = sorted(((s, r) for s, r in pairs if s is not None and r is not None), reverse=True)
    if any(later > earlier for (_, earlier), (_, later) in pairwise(best_first)):
        raise RerankError("a relevance does not rise with its score")
    return replace(scores, relevance=relevance)


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
