"""Asking a reranker for the scores of all documents, without a deadline."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.errors import RerankError, VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.resilience.checks import as_rerank_error
from vecdb_rerank.resilience.guarded import GuardedReranker


def all_scores(guard: GuardedReranker, query: str, texts: Sequence[str], policy: Policy) -> Scores:
    """The scores of all ``texts``, however long it takes."""
    try:
        scores = run(guard.ask(query, texts, Deadline(), policy))
    except VecdbRerankError:
        raise
    except Exception as error:
        raise as_rerank_error(error, guard.name) from error
    if missing := sum(score is None for score in scores.raw):
        raise RerankError(f"{guard.name} left {missing} of {len(texts)} documents without a score")
    return scores
