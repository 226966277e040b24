"""Two rerankers: a cheap one reads all candidates, a strong one the best of them."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb_rerank.errors import ConfigurationError, InvalidRerankerError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.resilience.checks import log_and_convert
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.resilience.ledger import Ledger

# With no deadline to measure a call against, being late always counts as failing.
_POLICY = Policy(deadline=None)
_STEP = 1.0  # between the raw scores of documents that follow


class CascadeReranker(BaseReranker):
    """Scores all documents with ``first``, and the ``best`` of them anew with ``then``.

    Args:
        first: the cheap one, of whose order the best are taken.
        then: the strong one.
        best: how many documents it reads, at most (from 1).

    One list comes of it: the documents that ``then`` scored, in its order, and after them the
    others in that of ``first``. The scales of the two models are never compared. Those that
    ``then`` scored keep its raw score and relevance (on the common scale, if it is calibrated).
    Each one that follows has a raw score of 1 less than the one before it, and the relevance that
    ``first`` gives it, but no more than the least that ``then`` gave: a bound that keeps the order.

    ``first`` leaves ``then`` the time that it is known to take (a quarter, while that is not
    known). Where one fails, is late, or keeps failing and is left alone, the scores of the other
    stand as they are, and ``Scores.failed`` says why: without ``then`` those of ``first``, without
    ``first`` those that ``then`` gives the ``best`` of the documents as they came, which is
    first-pass order. What both bill is added. ``truncated`` is that of the one that cut more
    documents: those that both cut are the same ones. Raises `ConfigurationError` where ``best`` is
    below 1.

    """

    keeps_deadline = True
    local = True  # each of the two is trimmed to its own pace
    listwise = True

    def __init__(self, first: AnyReranker, then: AnyReranker, *, best: int = 20) -> None:
        if best < 1:
            raise ConfigurationError("best", f"{best} is below 1")
        # Units are written down once, under the name of the cascade.
        self._first, self._then = (GuardedReranker(one, Ledger()) for one in (first, then))
        self._best = best
        self.bills: bool = self._first.reranker.bills or self._then.reranker.bills

    @property
    def name(self) -> str:
        """``cascade:`` and the names of the two."""
        return f"cascade:{self._first.name}>{self._then.name}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, best={self._best})"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Scores of the documents; those that there was no time for stay None.

        Raises `RerankError` where both fail, unless it is for want of time.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """`score` as a flow, for both colours."""
        if not documents:
            return Scores((), ())
        places = range(len(documents))
        share = deadline.reserving_for(
            [self._then.expected_seconds(len(places[: self._best]), _POLICY)]
        )
        first, cheap = yield from _asked(self._first, query, documents, share)
        best = (by_score(first) or places)[: self._best]
        then, strong = yield from _asked(self._then, query, [documents[n] for n in best], deadline)
        scores = joined(first, then, best)
        for error in (cheap, strong):
            if not by_score(scores) and error and not isinstance(error, TimeoutError):
                error.billed = scores.billed
                raise error
        return scores

    def warmup(self) -> None:
        """Load the models of those that have any."""
        self._first.reranker.warmup()
        self._then.reranker.warmup()

    def closing(self) -> Flow[None]:
        """Close the connections of those that have any."""
        yield from self._first.reranker.closing()
        yield from self._then.reranker.closing()

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Return the units that a call will be billed; which documents are best is not known."""
        first, then = self._first.reranker, self._then.reranker
        return first.predicted_units(query, documents) + then.predicted_units(
            query, documents[: self._best]
        )


def _asked(
    guard: GuardedReranker, query: str, documents: Sequence[str], deadline: Deadline
) -> Flow[tuple[Scores, RerankError | None]]:
    """What one of the two says; where it fails no document has a score, and the error is there."""
    try:
        return (yield from guard.ask(query, documents, deadline, _POLICY)), None
    except InvalidRerankerError:
        raise
    except Exception as caught:
        error = log_and_convert(caught, guard.name)
        nothing = [None] * len(documents)
        failed = {guard.name: str(error)}
        return Scores(nothing, nothing, billed=error.billed, failed=failed), error


def by_score(scores: Scores) -> list[int]:
    """The places of the documents that have a score, best first; equal ones stay in order."""
    known = [(raw, n) for n, raw in enumerate(scores.raw) if raw is not None]
    return [n for _, n in sorted(known, key=lambda one: -one[0])]


def joined(first: Scores, then: Scores, best: Sequence[int]) -> Scores:
    """The scores of ``then``, which are of the documents at ``best``, and below them ``first``."""
    raws, relevances = list(first.raw), list(first.relevance)
    read = {
        n: (raw, relevance)
        for n, raw, relevance in zip(best, then.raw, then.relevance, strict=True)
        if raw is not None and relevance is not None
    }
    if read:
        lowest, bound = (min(column) for column in zip(*read.values(), strict=True))
        rest = [n for n in by_score(first) if n not in read]
        for place, n in enumerate(rest, start=1):
            raws[n], relevances[n] = lowest - _STEP * place, min(bound, relevances[n] or 0.0)
    for n, (raw, relevance) in read.items():
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
