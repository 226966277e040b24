"""Score all candidates with a cheap reranker, and the best of them with a strong one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from vecdb_rerank._checks import integer
from vecdb_rerank.errors import InvalidRerankerError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.rerankers.function import as_reranker
from vecdb_rerank.resilience.checks import log_and_convert
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.resilience.ledger import Ledger

# Without a separate deadline, a late call always counts as a failed one.
_POLICY = Policy(deadline=None)
_STEP = 1.0  # between the raw scores of documents that ``then`` did not score


class CascadeReranker(BaseReranker):
    """Scores all documents with ``first``, and the ``best`` of them again with ``then``.

    Args:
        first: the cheap reranker, whose order selects the best documents.
        then: the strong reranker.
        best: how many documents ``then`` scores at most, at least 1.

    The documents that ``then`` scored come first, in its order; the others follow in the order of
    ``first``. The scales of the two models are never compared. A document that ``then`` scored has
    its raw score and relevance (calibrated, if ``then`` is). Each following document has a raw
    score of 1 less than the one before it, and the relevance that ``first`` gave it, limited to
    the lowest one of ``then``.

    ``first`` leaves as much time for ``then`` as it is expected to take, or a quarter while that is
    unknown. If one of the two fails, is late or is skipped by its circuit breaker, the scores of
    the other one count alone, and ``Scores.failed`` has the reason. Without ``first``, ``then``
    scores the ``best`` first documents in first-pass order. Billed units are added, notes merged.
    ``truncated`` is the larger of the two counts, because both truncate the same documents. Raises
    `ConfigurationError` if ``best`` is below 1.

    """

    keeps_deadline = True
    local = True  # each of the two is limited by its own latency
    listwise = True

    def __init__(self, first: AnyReranker, then: AnyReranker, *, best: int = 20) -> None:
        self._best = integer("best", best, 1)
        # Units are recorded once, under the name of the cascade.
        self._first, self._then = (
            GuardedReranker(as_reranker(one), Ledger()) for one in (first, then)
        )
        self.by_rank: bool = self._first.reranker.by_rank or self._then.reranker.by_rank
        self._instruction: str | None = None
        self.takes_instruction: bool = any(
            one.reranker.takes_instruction for one in (self._first, self._then)
        )
        self.bills: bool = self._first.reranker.bills or self._then.reranker.bills

    @property
    def name(self) -> str:
        """``cascade:`` and the names of both rerankers."""
        return f"cascade:{self._first.name}>{self._then.name}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, best={self._best})"

    def trust_scales(self) -> None:
        """Do not watch whether the scores of the two look like their scales."""
        self._first.trust_scale()
        self._then.trust_scale()

    def with_instruction(self, instruction: str) -> CascadeReranker:
        """Return a cascade whose rerankers follow ``instruction``, those that take one."""
        if instruction and not self.takes_instruction:
            super().with_instruction(instruction)
        other = copy.copy(self)
        other._instruction = instruction
        return other

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return the scores of the documents; None for those not scored in time.

        Raises `RerankError` if both fail for another reason than the deadline.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Do the same as a flow."""
        if not documents:
            return Scores((), ())
        indices = range(len(documents))
        needed = self._then.expected_seconds(len(indices[: self._best]), _POLICY)
        share = deadline.reserving_for([needed])
        first, first_error = yield from _score(
            self._first, query, documents, share, self._instruction
        )
        best = (by_score(first) or indices)[: self._best]
        then, then_error = yield from _score(
            self._then, query, [documents[n] for n in best], deadline, self._instruction
        )
        scores = combine(first, then, best)
        for error in (first_error, then_error):
            if not by_score(scores) and error and not isinstance(error, TimeoutError):
                error.billed = scores.billed
                raise error
        return scores

    def warmup(self) -> None:
        """Load the models of both rerankers."""
        self._first.reranker.warmup()
        self._then.reranker.warmup()

    def closing(self) -> Flow[None]:
        """Close the connections of both rerankers."""
        yield from self._first.reranker.closing()
        yield from self._then.reranker.closing()

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Return the units of a call; the best documents are taken to be the first ones."""
        first, then = self._first.reranker, self._then.reranker
        best = documents[: self._best]
        return first.predicted_units(query, documents) + then.predicted_units(query, best)


def _score(
    guard: GuardedReranker,
    query: str,
    documents: Sequence[str],
    deadline: Deadline,
    instruction: str | None,
) -> Flow[tuple[Scores, RerankError | None]]:
    """Return the scores of one reranker; if it fails, scores of None and the error."""
    try:
        if not guard.reranker.takes_instruction:
            instruction = None  # the other one of the two takes it
        asking = guard.ask(query, documents, deadline, _POLICY, instruction=instruction)
        return (yield from asking), None
    except InvalidRerankerError:
        raise
    except Exception as caught:
        error = log_and_convert(caught, guard.name)
        nothing = [None] * len(documents)
        failed = {guard.name: str(error)}
        return Scores(nothing, nothing, billed=error.billed, failed=failed), error


def by_score(scores: Scores) -> list[int]:
    """Return the indices of the scored documents, best first; ties stay in order."""
    known = [(raw, n) for n, raw in enumerate(scores.raw) if raw is not None]
    return [n for _, n in sorted(known, key=lambda one: -one[0])]


def combine(first: Scores, then: Scores, best: Sequence[int]) -> Scores:
    """Return the scores of ``then`` for the documents at ``best``, and below them ``first``."""
    raws, relevances = list(first.raw), list(first.relevance)
    rescored = {
        n: (raw, relevance)
        for n, raw, relevance in zip(best, then.raw, then.relevance, strict=True)
        if raw is not None and relevance is not None
    }
    if rescored:
        lowest, bound = (min(column) for column in zip(*rescored.values(), strict=True))
        rest = [n for n in by_score(first) if n not in rescored]
        for rank, n in enumerate(rest, start=1):
            raws[n], relevances[n] = lowest - _STEP * rank, min(bound, relevances[n] or 0.0)
    for n, (raw, relevance) in rescored.items():
        raws[n], relevances[n] = raw, relevance
    return Scores(
        raws,
        relevances,
        truncated=max(first.truncated, then.truncated),
        billed=first.billed + then.billed,
        failed={**first.failed, **then.failed},
        notes={**first.notes, **then.notes},
        calibrated=first.calibrated and then.calibrated,
    )
