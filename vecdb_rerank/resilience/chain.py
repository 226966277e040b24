"""Rerankers in order: the next one is called if one fails, while there is time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vecdb_rerank.errors import (
    ConfigurationError,
    InvalidRerankerError,
    RerankError,
    RerankerSkippedError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Answer
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, BaseReranker
from vecdb_rerank.request import check_instruction
from vecdb_rerank.resilience.checks import log_and_convert
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.resilience.reading import Reading


class Chain:
    """Rerankers, best first; at least one. Circuits and latency models belong to the chain.

    ``watches_scale`` says whether answers decide that a declared scale is wrong. Pass False if
    those who choose the texts are not trusted: they could make it seem wrong to others.
    Raises `ConfigurationError` (key ``reranker``) for what is not a reranker, and for two of the
    same name.
    """

    def __init__(self, rerankers: Sequence[AnyReranker], *, watches_scale: bool = True) -> None:
        if not rerankers:
            raise ConfigurationError("reranker", "got an empty sequence; give one, or None")
        self._guarded = [GuardedReranker(reranker) for reranker in rerankers]
        for name, count in Counter(guarded.name for guarded in self._guarded).items():
            if count > 1:
                raise ConfigurationError("reranker", f"{name!r} is given {count} times")
        if not watches_scale:
            for guarded in self._guarded:
                guarded.trust_scale()

    @property
    def rerankers(self) -> tuple[BaseReranker, ...]:
        """The rerankers, best first."""
        return tuple(guarded.reranker for guarded in self._guarded)

    @property
    def name(self) -> str:
        """The name of the first one."""
        return self._guarded[0].name

    def check(self, policy: Policy) -> None:
        """Raise `ConfigurationError` if ``policy`` does not fit these rerankers."""
        for reranker in self.rerankers:
            if reranker.by_rank:
                _check_by_rank(reranker.name, policy)
            if not policy.cost.has_budget:
                continue
            if reranker.bills and reranker.name not in policy.cost.prices:
                raise ConfigurationError(
                    "policy.cost.prices",
                    f"a budget needs the price of {reranker.name!r} (0 if it is free)",
                )

    def check_instruction(self, instruction: str | None) -> None:
        """Raise `ConfigurationError` if none of the rerankers has a place for ``instruction``."""
        if instruction is None:
            return
        check_instruction(instruction)
        if instruction and not any(one.takes_instruction for one in self.rerankers):
            names = " and ".join(one.name for one in self.rerankers)
            raise ConfigurationError(
                "instruction",
                f"there is no place for one in {names}; use a reranker that follows instructions, "
                "or put it into the query",
            )

    def ask(
        self,
        query: str,
        texts: Sequence[str],
        deadline: Deadline,
        policy: Policy,
        reading: Reading | None = None,
        instruction: str | None = None,
    ) -> Flow[Answer]:
        """Return the scores of the first reranker that answers, or the error of the last.

        ``reading`` decides which of ``texts`` are read; by default all are. ``instruction``
        replaces those of the rerankers that take one.
        Raises nothing that a reranker raises but `InvalidRerankerError`.
        """
        failed: dict[str, str] = {}
        billed: dict[str, float] = {}
        for n, guarded in enumerate(self._guarded):
            rest = self._guarded[n:]
            try:
                _leave_to_the_next(rest, len(texts), deadline, policy)
                needs = [later.expected_seconds(len(texts), policy) for later in rest[1:]]
                share = deadline.reserving_for(needs)
                scores = yield from guarded.ask(query, texts, share, policy, reading, instruction)
            except InvalidRerankerError:
                raise
            except Exception as caught:
                error = log_and_convert(caught, guarded.name)
                failed[guarded.name] = str(error)
                if error.billed:
                    billed[guarded.name] = error.billed
            else:
                if scores.billed:
                    billed[guarded.name] = scores.billed
                failed.update(scores.failed)
                return Answer(guarded.name, scores, failed=failed, billed=billed)
        return Answer(self.name, error=_joined(error, failed), failed=failed, billed=billed)

    def warmup(self) -> None:
        """Load the models of those that have any; send nothing to a server."""
        for reranker in self.rerankers:
            reranker.warmup()

    def closing(self) -> Flow[None]:
        """Close the connections of those that have any."""
        for reranker in self.rerankers:
            yield from reranker.closing()


def _leave_to_the_next(
    rest: Sequence[GuardedReranker], documents: int, deadline: Deadline, policy: Policy
) -> None:
    """Raise `RerankerSkippedError` if only a later reranker has time for the documents.

    The first of ``rest`` then has no time for half of them.
    """
    first, *others = rest
    left = deadline.remaining()
    if 2 * first.predict_count(documents, left, policy) >= documents:
        return
    for other in others:
        need = other.expected_seconds(documents, policy)
        if need is not None and need <= left:
            raise RerankerSkippedError(
                f"{first.name} is too slow for the time left, {other.name} is not"
            )


def _check_by_rank(name: str, policy: Policy) -> None:
    """Raise `ConfigurationError` for what needs a relevance, which an order does not tell."""
    why = f"{name!r} returns an order and no relevance"
    if policy.min_relevance is not None:
        raise ConfigurationError(
            "policy.min_relevance", f"{why}; unset this, or use the mode 'pointwise'"
        )
    if name in policy.calibration:
        raise ConfigurationError(f"policy.calibration.{name}", f"{why}; remove this")


def _joined(last: RerankError, failed: Mapping[str, str]) -> RerankError:
    """The one error, or one that names all."""
    if len(failed) == 1:
        return last
    error = RerankError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    error.__cause__ = last
    return error
