"""Asking a reranker, checking what it says, and what becomes of the order."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vecdb_rerank import fusion
from vecdb_rerank.blending import Blend
from vecdb_rerank.candidates import Candidate, Ranking, Scores, Status
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import Documents
from vecdb_rerank.errors import RerankError, RerankTimeoutError
from vecdb_rerank.flow import Compute, Flow
from vecdb_rerank.protocols import Reranker

log = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The order a rerank ended in, and how it got there."""

    ranking: Ranking
    status: Status
    reason: str | None = None
    error: RerankError | None = None
    truncated: int = 0

    @classmethod
    def failed(cls, candidates: Sequence[Candidate], error: RerankError) -> Verdict:
        """The first-pass order, with the error that left it so."""
        log.warning("rerank failed, keeping the first-pass order: %s", error)
        return cls(fusion.unchanged(candidates), "fell_back", str(error), error)


def reason_to_skip(
    reranker: Reranker | None,
    candidates: Sequence[Candidate],
    texts: Sequence[str],
    documents: Documents,
) -> str | None:
    """Why there is nothing to rerank, or None."""
    if reranker is None:
        return "no reranker"
    if not candidates:
        return "no hits"
    if texts:
        return None
    named, held = ", ".join(documents.paths), ", ".join(candidates[0].payload) or "nothing"
    reason = f"no hit has text in {named} (the first one holds {held}): set documents.fields"
    log.warning("not reranked: %s", reason)
    return reason


def ask(reranker: Reranker, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Scores]:
    """Ask the reranker: one with ``steps`` in the driver's colour, any other as blocking work."""
    if (steps := getattr(reranker, "steps", None)) is not None:
        answer: Scores = yield from steps(query, texts, deadline=deadline)
    else:
        watched = math.inf if getattr(reranker, "keeps_deadline", False) else deadline.remaining()
        answer = yield Compute(lambda: reranker.score(query, texts, deadline=deadline), watched)
    return _checked(answer, texts)


def _checked(scores: Scores, texts: Sequence[str]) -> Scores:
    """``scores``, or an error: a wrong answer must not become a ranking."""
    for name, values in (("scores", scores.raw), ("relevances", scores.relevance)):
        if len(values) != len(texts):
            raise RerankError(f"{len(values)} {name} came back for {len(texts)} documents")
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


def verdict(
    candidates: Sequence[Candidate], texts: Sequence[str], scores: Scores, blend: Blend
) -> Verdict:
    """What the scores of the distinct ``texts`` make of ``candidates``, in first-pass order."""
    scored = sum(score is not None for score in scores.raw)
    if not scored:
        return Verdict.failed(
            candidates, RerankTimeoutError("the deadline came before any document was scored")
        )
    ranking = fusion.rerank(candidates, _spread(scores, texts, candidates), blend)
    if scored < len(texts):
        reason = f"the deadline came after {scored} of {len(texts)} documents"
        return Verdict(ranking, "partial", reason, truncated=scores.truncated)
    return Verdict(ranking, "reranked", truncated=scores.truncated)


def _spread(scores: Scores, texts: Sequence[str], candidates: Sequence[Candidate]) -> Scores:
    """Scores by distinct text become scores by candidate."""
    raw = dict(zip(texts, scores.raw, strict=True))
    relevance = dict(zip(texts, scores.relevance, strict=True))
    return Scores(
        [_number(raw.get(c.text)) for c in candidates],
        [_number(relevance.get(c.text)) for c in candidates],
    )


def _number(value: Any) -> float | None:
    """A plain float: numpy's break ``json.dumps`` of a native response."""
    return None if value is None else float(value)


def as_rerank_error(error: Exception, reranker: Reranker) -> RerankError:
    """A failed rerank as an error of ours, with the foreign one as its cause."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, TimeoutError):
        mapped: RerankError = RerankTimeoutError(f"{reranker.name} was late")
    else:
        mapped = RerankError(f"{reranker.name} failed: {error!r}")
    mapped.__cause__ = error
    return mapped
