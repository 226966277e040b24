"""Ask a reranker for the scores of all documents, without a deadline."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.errors import RerankError, VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.resilience.checks import as_rerank_error
from vecdb_rerank.resilience.guarded import GuardedReranker


def all_scores(
    guarded: GuardedReranker,
    query: str,
    texts: Sequence[str],
    policy: Policy,
    instruction: str | None = None,
) -> Scores:
    """Return the scores of all ``texts``; raise `RerankError` if any of them is missing."""
    try:
        scores = run(guarded.ask(query, texts, Deadline(), policy, instruction=instruction))
    except VecdbRerankError:
        raise
    except Exception as error:
        raise as_rerank_error(error, guarded.name) from error
    if missing := sum(score is None for score in scores.raw):
        raise RerankError(f"{guarded.name} did not score {missing} of {len(texts)} documents")
    return scores
