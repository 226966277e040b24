"""What all remote rerankers share: requests within limits, one owner of retries, their errors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Self, TypeVar

import httpx

from vecdb_rerank import telemetry
from vecdb_rerank._checks import above, integer
from vecdb_rerank.errors import (
    ConfigurationError,
    RerankError,
    RerankerSkippedError,
    RerankTimeoutError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.failures import Errors, is_fault
from vecdb_rerank.http.request_limits import LearnedLimit, RequestLimit, RequestPlan
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.service import Service
from vecdb_rerank.http.splitting import SplitCall
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.request import check_instruction
from vecdb_rerank.rerankers.wire_format import Scale, WireFormat
from vecdb_rerank.rerankers.wire_reply import Reply, has_results, reply
from vecdb_rerank.rerankers.wire_request import ScoreRequest, predicted_units, request_tokens
from vecdb_rerank.resilience.ledger import keep_reservation, reserve_more
from vecdb_rerank.text_fields import valid_unicode

# Errors of httpx before a request has reached the server, which cannot have billed it.
_NOT_SENT = (httpx.ConnectTimeout, httpx.PoolTimeout)
T = TypeVar("T")
Attempt = Callable[[Deadline], Flow[Reply]]


class RerankServiceError(ServiceError, RerankError):
    """A remote reranker did not return scores."""


ERRORS = Errors(RerankServiceError, RerankTimeoutError, "reranker")


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """The options of every remote reranker; `ConfigurationError` names the one out of range.

    ``timeout`` (seconds) bounds one request and ``retries`` how often it is made again.
    ``batch_size`` and ``batch_tokens`` bound the documents, and the tokens of the query with each
    of them, in one request. ``max_response_bytes`` bounds a response before and after decoding.
    """

    timeout: float
    retries: int
    batch_size: int
    batch_tokens: int | None
    max_response_bytes: int

    def __post_init__(self) -> None:
        above("timeout", self.timeout, 0, "seconds")
        least = {"retries": 0, "batch_size": 1, "batch_tokens": 1, "max_response_bytes": 1}
        for name, low in least.items():
            if (given := getattr(self, name)) is not None or name != "batch_tokens":
                object.__setattr__(self, name, integer(name, given, low))


class _Budget:
    """The units of one call: those billed, and those reserved for requests that were refused."""

    def __init__(self, units: Callable[[range], float]) -> None:
        self.billed = 0.0
        self._units = units
        self._spare = 0.0  # refused requests are not billed

    def may_add(self, part: range) -> bool:
        """Return whether the budget has room for a request beyond the planned ones."""
        units = self._units(part)
        if units > self._spare and not reserve_more(units - self._spare):
            return False
        self._spare = max(0.0, self._spare - units)
        return True

    def refused(self, part: range, error: RerankServiceError) -> None:
        """Record that the server refused ``part``."""
        self.billed, error.billed = self.billed + error.billed, 0.0
        self._spare += self._units(part)


class RemoteReranker(BaseReranker, ABC):
    """Asks a server for scores, one request after another, until the deadline.

    A request that the server refuses is halved, until the documents that it does not accept are
    found (they stay unscored) or the request is small enough. Such a limit is learned for ten
    minutes, and is a note of the outcome.
    """

    keeps_deadline = True
    local = False
    bills = True

    def __init__(
        self,
        wire: WireFormat,
        scale: Scale,
        options: RemoteOptions,
        secrets: tuple[str, ...] = (),
        instruction: str | None = None,
    ) -> None:
        self.listwise: bool = wire.listwise
        self.takes_instruction: bool = wire.takes_instruction
        self._instruction = self._checked(instruction or "")
        self._wire = wire
        self._scale = scale
        self._options = options
        self._limit = LearnedLimit(RequestLimit(options.batch_size, options.batch_tokens))
        path = tuple(wire.error.split("."))
        self._service = Service(ERRORS, options.timeout, path, secrets)

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for outcomes and logs."""

    @abstractmethod
    def _send(
        self, query: str, batch: Sequence[str], retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        """Return the scores of one request."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def with_instruction(self, instruction: str) -> Self:
        """Return a reranker that follows ``instruction`` and shares this one's state."""
        other = copy.copy(self)
        other._instruction = self._checked(instruction)
        return other

    def _checked(self, instruction: str) -> str:
        check_instruction(instruction)
        if instruction and not self.takes_instruction:
            raise ConfigurationError("instruction", "the service has no place for one")
        return valid_unicode(instruction)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return the server's scores; None for documents that it refused or had no time for.

        Raise `RerankError` for a wrong answer or none, and `RerankTimeoutError` if the deadline
        comes before any score.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Do as `score` does, as a flow for synchronous and asynchronous searches."""
        query, documents = valid_unicode(query), [valid_unicode(text) for text in documents]
        sent = documents[: self._limit.current().documents] if self.listwise else documents
        call: SplitCall[float] = SplitCall(
            request_tokens(self._read_with(query), sent), self._limit, len(documents)
        )
        budget = _Budget(lambda part: self._units(query, documents[part.start : part.stop]))

        def send(part: range, may_retry: bool) -> Flow[Sequence[float]]:
            batch = documents[part.start : part.stop]
            retries = self._options.retries if may_retry else 0
            answer = yield from self._send(query, batch, retries, deadline)
            budget.billed += answer.billed
            return answer.scores

        def split(part: range, error: ServiceError) -> bool:
            if (may_split := self._may_split(error)) and isinstance(error, RerankServiceError):
                budget.refused(part, error)
            return may_split

        try:
            yield from call.run(send, split=split, may_add=budget.may_add)
        except RerankTimeoutError:
            if not call.has_results:
                call.learn(late=True)
                raise
        except RerankError as error:
            error.billed += budget.billed
            raise
        call.learn()
        read = Scores.from_logits if self._scale == "logits" else Scores.from_relevance
        most = self._wire.max_chars
        cut = sum(len(text) > most for text in sent) if most else 0
        scores = read(call.results, billed=budget.billed, truncated=cut)
        return replace(scores, notes=self._notes(call.plan))

    def _may_split(self, error: ServiceError) -> bool:
        """Return whether a refused request may be accepted in parts.

        A server that names a time to retry is busy, whatever it was sent.
        """
        if self.listwise or not self._limit.may_split or error.retry_after is not None:
            return False
        return error.request_rejected or is_fault(error)

    def _notes(self, plan: RequestPlan) -> dict[str, str]:
        notes = {}
        if self._limit.is_learned:
            limit = self._limit.current()
            held = [f"{limit.documents} documents (batch_size)"]
            if limit.tokens is not None:
                held.append(f"{limit.tokens:.0f} tokens (batch_tokens)")
            notes["request_limit"] = (
                f"{self.name} refused larger requests than {' and '.join(held)}; "
                "set these options of the reranker"
            )
        if plan.culprits:
            notes["documents_refused"] = (
                f"{self.name} refused to score {len(plan.culprits)} of the documents"
            )
        if plan.unsent:
            notes["documents_unsent"] = (
                f"{plan.unsent} documents were not scored, since {self.name} refused "
                "too many requests or the budget was used up"
            )
        return notes

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Predict what one call will be billed, in the service's units; 0 if it bills nothing."""
        if self._wire.unit is None:
            return 0.0
        parts = self._limit.current().parts(request_tokens(self._read_with(query), documents))
        return sum(self._units(query, documents[part.start : part.stop]) for part in parts)

    def _units(self, query: str, documents: Sequence[str]) -> float:
        return predicted_units(self._wire, self._read_with(query), documents)

    def _read_with(self, query: str) -> str:
        """Return what a server reads with each document, to count its tokens."""
        return f"{self._instruction}\n{query}" if self._instruction else query

    def _attempts(
        self, attempt: Attempt, request: ScoreRequest, where: str, retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        """Return what ``attempt`` returns; each retry has its own deadline.

        A late request keeps its part of a budget, since the service may bill it. A retry after it
        is made only if the budget has room for both.
        """
        units = self._units(request.query, request.documents)
        return (
            yield from counted_attempts(
                self._service, self.name, attempt, units, where, retries, deadline
            )
        )

    def _reply(
        self,
        answer: object,
        where: str,
        request: ScoreRequest,
        deadline: Deadline,
        service: Service | None = None,
    ) -> Flow[Reply]:
        """Return the scores in a response with status 200.

        Raise `ServiceError` with the server's message if it holds one instead, or says what is
        wrong with the scores.
        """
        return (service or self._service).reading(
            lambda body: reply(body, request, self._wire),
            answer,
            where,
            request.texts,
            deadline,
            has_results=lambda body: has_results(body, self._wire),
        )


def counted_attempts(
    service: Service,
    name: str,
    attempt: Callable[[Deadline], Flow[T]],
    units: float,
    where: str,
    retries: int,
    deadline: Deadline,
) -> Flow[T]:
    """Return what ``attempt``, which may be billed ``units``, returns; count each retry.

    ``name`` is that of the reranker. A late request keeps its part of a budget, since the service
    may bill it. A retry after it is made only if the budget has room for both.
    """
    tries = count(1)
    is_late = False

    def one(soon: Deadline) -> Flow[T]:
        nonlocal is_late
        if (number := next(tries)) > 1:
            if is_late and not reserve_more(units):
                raise RerankerSkippedError(f"{where} was late, and a budget allows no retry")
            telemetry.count_retry(name)
        is_late = False
        try:
            with telemetry.span("attempt", {"server.address": where, "number": number}):
                return (yield from attempt(soon))
        except (TimeoutError, httpx.TimeoutException) as error:
            if not isinstance(error, (RerankError, *_NOT_SENT)):
                is_late = True
                keep_reservation(units)
            raise

    return (yield from service.attempts(one, where, retries, deadline))
