"""Checks on a reranker's answers, and its errors as ours."""

from __future__ import annotations

import logging
import math
from itertools import pairwise

from vecdb_rerank.errors import (
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
    VecdbRerankError,
)
from vecdb_rerank.model import Scores

log = logging.getLogger("vecdb_rerank")


def checked(scores: Scores, count: int) -> Scores:
    """``scores``, or an error: a wrong answer must not become a ranking."""
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if len(values) != count:
            raise RerankError(f"{len(values)} {name} came back for {count} documents")
        if any(value is not None and not math.isfinite(value) for value in values):
            raise RerankError(f"one of the {name} is not a finite number")
    pairs = list(zip(scores.raw, scores.relevance, strict=True))
    if any((raw is None) != (relevance is None) for raw, relevance in pairs):
        raise RerankError("a document has a score or a relevance, but not both")
    best_first = sorted(((raw, rel) for raw, rel in pairs if raw is not None), reverse=True)
    relevance = [rel for _, rel in best_first if rel is not None]
    if any(not 0 <= value <= 1 for value in relevance):
        raise RerankError("a relevance is not in 0 to 1")
    if any(low > high for high, low in pairwise(relevance)):
        raise RerankError("a relevance does not rise with its score")
    return scores


def log_and_convert(error: Exception, name: str) -> RerankError:
    """A failed rerank as an error of ours, written into the log."""
    mapped = as_rerank_error(error, name)
    level = logging.DEBUG if isinstance(mapped, RerankerSkippedError) else logging.WARNING
    log.log(level, "reranking with %s failed: %s", name, mapped)
    return mapped


def as_rerank_error(error: Exception, name: str) -> RerankError:
    """A failed rerank as an error of ours, with the foreign one as its cause."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, TimeoutError):
        mapped: RerankError = RerankTimeoutError(f"{name} was late")
    elif isinstance(error, VecdbRerankError):
        mapped = RerankError(f"{name}: {error}")
    else:
        # The type alone: the message of a foreign error may hold the query or a document.
        mapped = RerankError(f"{name} failed with {type(error).__name__}")
    mapped.__cause__ = error
    return mapped
