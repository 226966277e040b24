"""Try a reranker on a few pairs, to find what a search would only show over time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.resilience.adapt import adapt, call_steps
from vecdb_rerank.resilience.checks import as_rerank_error, check_scores, scores_of
from vecdb_rerank.resilience.latency import Estimate, Timed
from vecdb_rerank.resilience.scale_watch import why_suspect

Level = Literal["ok", "warning", "error"]
# Opposite ones, of which each must change the score of the answer.
_INSTRUCTIONS = (
    "Judge documents about cooking as relevant, and no others.",
    "Judge documents about geology as relevant, and no others.",
)
_QUERY = "How long do I boil an egg?"
_ANSWER = "Boil an egg for six minutes for a soft yolk, and for ten minutes for a hard one."
_OTHERS = (
    "The treaty was signed in the spring, after two years of talks between the ministries.",
    "A binary search halves the range in every step and needs a sorted array.",
    "The night train to the coast leaves from platform four shortly before midnight.",
    "Granite is an igneous rock of quartz, feldspar and mica that cools slowly underground.",
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a few calls of a reranker showed.

    ``milliseconds`` is an estimate of one call with ``documents`` documents of about 20 tokens.
    ``problem`` is what is wrong with its scores, if anything; it is an ``error`` if they rank
    nothing or are on another scale, else a ``warning``. ``ignores_instructions`` means that a
    server refuses instructions, or scores a pair the same under two.
    """

    name: str
    documents: int
    milliseconds: float
    problem: str | None = None
    level: Level = "ok"
    ignores_instructions: bool = False


def probe(reranker: AnyReranker, documents: int = 50) -> Probe:
    """Call ``reranker`` with 1, 10 and ``documents`` documents, one of which answers the query.

    One that is behind a network and takes instructions is called with two of them, too. Raises
    `RerankError` if the reranker fails, and `InvalidRerankerError` for a wrong return value.
    """
    adapted = adapt(reranker)
    _score(adapted, 1)  # loads the model
    timed = []
    scores = Scores((), ())
    for count in sorted({1, min(10, documents), documents}):
        started = time.perf_counter()
        scores = _score(adapted, count)
        timed.append(Timed(0.0, count, time.perf_counter() - started))
    estimate = Estimate.of(timed).seconds(documents) * 1e3
    level, problem = _problem(scores)
    return Probe(adapted.name, documents, estimate, problem, level, _ignores(adapted))


def _ignores(reranker: BaseReranker) -> bool:
    """Return whether a server refuses instructions, or scores one pair the same under two.

    A local model reads what it is given.
    """
    if reranker.local or not reranker.takes_instruction:
        return False
    try:
        first, second = (_score(reranker.with_instruction(one), 1).raw for one in _INSTRUCTIONS)
    except ServiceError as error:
        if not error.request_rejected:
            raise
        return True
    return list(first) == list(second)


def _score(reranker: BaseReranker, count: int) -> Scores:
    # No two are equal: a cache would stand in for the model.
    texts = [_ANSWER, *(f"{_OTHERS[n % len(_OTHERS)]} ({n})" for n in range(1, count))]
    try:
        answer = run(call_steps(reranker, _QUERY, texts, Deadline()))
    except VecdbRerankError:
        raise
    except Exception as error:
        raise as_rerank_error(error, reranker.name) from error
    return check_scores(scores_of(answer, count, reranker.name))


def _problem(scores: Scores) -> tuple[Level, str | None]:
    if reason := why_suspect(scores):
        return "error", reason
    known = [raw for raw in scores.raw if raw is not None]
    if len(known) < len(scores.raw):
        why = "".join(f"; {note}" for note in scores.notes.values())
        return "warning", f"it scored {len(known)} of {len(scores.raw)} documents{why}"
    if len(known) > 1 and known.index(max(known)) != 0:
        return "error", "the document that answers the query does not have the best score"
    if scores.notes:
        return "warning", "; ".join(scores.notes.values())
    return "ok", None
