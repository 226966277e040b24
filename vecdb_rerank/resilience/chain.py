"""Rerankers in order: the next one is asked where one fails, while there is time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vecdb_rerank.errors import ConfigurationError, RerankError, RerankerSkippedError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Answer
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Reranker
from vecdb_rerank.resilience.checks import log_and_convert
from vecdb_rerank.resilience.guarded import GuardedReranker, warm_up


class Chain:
    """Rerankers, best first; at least one. Breakers and paces belong to the chain.

    `ConfigurationError` where one of them is no reranker or two have the same name, and where a
    budget is set and one that bills has no price.
    """

    def __init__(self, rerankers: Sequence[Reranker], policy: Policy) -> None:
        if not rerankers:
            raise ConfigurationError("reranker", "an empty sequence; give one, or None for none")
        for reranker in rerankers if isinstance(rerankers, Sequence) else [rerankers]:
            if isinstance(reranker, type) or not isinstance(reranker, Reranker):
                raise ConfigurationError(
                    "reranker", f"{reranker!r} is none (it needs a name and a method score)"
                )
        self._guards = [GuardedReranker(reranker, policy) for reranker in rerankers]
        for name, count in Counter(guard.name for guard in self._guards).items():
            if count > 1:
                raise ConfigurationError("reranker", f"{name!r} is there {count} times")
        for guard in self._guards:
            if policy.cost.has_budget and guard.bills and guard.name not in policy.cost.prices:
                raise ConfigurationError(
                    "policy.cost.prices", f"a budget needs the price of {guard.name!r} (0 for none)"
                )

    @property
    def rerankers(self) -> tuple[Reranker, ...]:
        """The rerankers, best first."""
        return tuple(guard.reranker for guard in self._guards)

    @property
    def name(self) -> str:
        """The name of the first one."""
        return self._guards[0].name

    def ask(self, query: str, texts: Sequence[str], deadline: Deadline) -> Flow[Answer]:
        """The scores of the first reranker that answers; never raises what a reranker raises."""
        failed: dict[str, str] = {}
        billed: dict[str, float] = {}
        for n, guard in enumerate(self._guards):
            rest = self._guards[n:]
            try:
                _leave_to_the_next(rest, len(texts), deadline)
                share = deadline.reserving_for([after.expected(len(texts)) for after in rest[1:]])
                scores = yield from guard.ask(query, texts, share)
            except Exception as caught:
                error = log_and_convert(caught, guard.name)
                failed[guard.name] = str(error)
                if error.billed:
                    billed[guard.name] = error.billed
            else:
                if scores.billed:
                    billed[guard.name] = scores.billed
                failed.update(scores.failed)
                return Answer(guard.name, scores, failed=failed, billed=billed)
        return Answer(self.name, error=_joined(error, failed), failed=failed, billed=billed)

    def warmup(self) -> None:
        """Load the models of those that have any; nothing is sent to a server."""
        warm_up(*self.rerankers)

    def closing(self) -> Flow[None]:
        """Close the connections of those that have any."""
        for guard in self._guards:
            if (closing := getattr(guard.reranker, "closing", None)) is not None:
                yield from closing()


def _leave_to_the_next(rest: Sequence[GuardedReranker], documents: int, deadline: Deadline) -> None:
    """Raise `RerankerSkippedError` if the first of ``rest`` has no time for half the documents."""
    first, *others = rest
    left = deadline.remaining()
    if 2 * first.predict_count(documents, left) >= documents:
        return
    for other in others:
        need = other.expected(documents)
        if need is not None and need <= left:
            raise RerankerSkippedError(
                f"{first.name} is too slow for the time left, {other.name} is not"
            )


def _joined(last: RerankError, failed: Mapping[str, str]) -> RerankError:
    """The one error, or one that tells of all."""
    if len(failed) == 1:
        return last
    error = RerankError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    error.__cause__ = last
    return error
