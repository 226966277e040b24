"""Rerankers in order: the next one is asked where one fails, while there is time."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.candidates import Scores
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.errors import ConfigurationError, NotAskedError, RerankError
from vecdb_rerank.flow import Flow
from vecdb_rerank.guard import Guard, as_rerank_error
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Reranker

log = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chain says: whose scores, or the error that left it without.

    ``failed`` maps the names of those that did not answer to the reason.
    """

    reranker: str
    scores: Scores | None = None
    error: RerankError | None = None
    failed: Mapping[str, str] = field(default_factory=dict)


class Chain:
    """Rerankers, best first; at least one. Breakers and paces belong to the chain.

    `ConfigurationError` where one of them is no reranker, and where a budget is set and one that
    bills has no price.
    """

    def __init__(self, rerankers: Sequence[Reranker], policy: Policy) -> None:
        if not rerankers:
            raise ConfigurationError("reranker: an empty sequence; give one, or None for none")
        for reranker in rerankers:
            if isinstance(reranker, type) or not isinstance(reranker, Reranker):
                raise ConfigurationError(
                    f"reranker: {reranker!r} is none (it needs a name and a method score)"
                )
        self._guards = [Guard(reranker, policy) for reranker in rerankers]
        for guard in self._guards:
            if policy.cost.has_budget and guard.bills and guard.name not in policy.cost.prices:
                raise ConfigurationError(
                    f"policy.cost.prices: a budget needs the price of {guard.name!r} (0 for none)"
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
        for n, guard in enumerate(self._guards):
            share = _share(deadline, self._guards[n:], len(texts))
            try:
                scores = yield from guard.ask(query, texts, share)
            except Exception as caught:
                error = as_rerank_error(caught, guard.name)
                failed[guard.name] = str(error)
                level = logging.DEBUG if isinstance(error, NotAskedError) else logging.WARNING
                log.log(level, "reranking with %s failed: %s", guard.name, error)
            else:
                return Answer(guard.name, scores, failed=failed)
        return Answer(self.name, error=_joined(error, failed), failed=failed)

    def closing(self) -> Flow[None]:
        """Close the connections of those that have any."""
        for guard in self._guards:
            if (closing := getattr(guard.reranker, "closing", None)) is not None:
                yield from closing()


def _share(deadline: Deadline, rest: Sequence[Guard], documents: int) -> Deadline:
    """The time of the first of ``rest``: what is left, less what the others will need.

    Each of them is kept what it takes as far as that is known, and at most an even share.
    """
    left = deadline.remaining()
    if len(rest) == 1 or math.isinf(left):
        return deadline
    even = left / len(rest)
    needs = (guard.expected(documents) for guard in rest[1:])
    return deadline.capped(left - sum(even if n is None else min(n, even) for n in needs))


def _joined(last: RerankError, failed: Mapping[str, str]) -> RerankError:
    """The one error, or one that tells of all."""
    if len(failed) == 1:
        return last
    error = RerankError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    error.__cause__ = last
    return error
