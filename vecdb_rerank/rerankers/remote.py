"""What all remote rerankers share: requests within limits, one owner of retries, their errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

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
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.http.retry import ServiceError, is_transient, retry, retry_after, within
from vecdb_rerank.http.urls import names_server
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.failures import advice, failure, is_fault, masked_cause
from vecdb_rerank.rerankers.request_limits import LearnedLimit, RequestLimit, RequestPlan
from vecdb_rerank.rerankers.server_messages import (
    embedded_status,
    find_message,
    names_error,
    presentable,
)
from vecdb_rerank.rerankers.wire_formats import (
    Reply,
    Scale,
    ScoreRequest,
    WireFormat,
    predicted_units,
    reply,
    request_tokens,
    value_at,
)
from vecdb_rerank.resilience.ledger import keep_reservation, reserve_more
from vecdb_rerank.text_fields import valid_unicode

T = TypeVar("T")
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
_REJECTED = {400, 413, 422}  # statuses of a request that this server does not accept
MAX_ERROR_BYTES = 1024 * 1024  # of an error's body that are read: parsing keeps other threads
_INLINE = 256 * 1024  # bytes or characters; more work than this is kept off the event loop
# Errors of httpx before a request has reached the server, which cannot have billed it.
_NOT_SENT = (httpx.ConnectTimeout, httpx.PoolTimeout)
Attempt = Callable[[Deadline], Flow[Reply]]


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


class _Call:
    """The state of one call: its plan, and what came of its requests."""

    def __init__(self, plan: RequestPlan, documents: int) -> None:
        self.plan = plan
        self.scores: list[float | None] = [None] * documents
        self.billed = 0.0
        self.refusals: list[ServiceError] = []
        self._spare = 0.0  # units reserved for refused requests, which are not billed

    @property
    def has_scores(self) -> bool:
        """Whether any document has been scored."""
        return any(score is not None for score in self.scores)

    def may_add(self, units: float) -> bool:
        """Return whether the budget has room for a request beyond the planned ones."""
        if units > self._spare and not reserve_more(units - self._spare):
            return False
        self._spare = max(0.0, self._spare - units)
        return True

    def accept(self, part: range, answer: Reply) -> None:
        """Keep the scores of ``part``."""
        self.plan.accepted(part)
        self.scores[part.start : part.stop] = answer.scores
        self.billed += answer.billed

    def refuse(self, part: range, error: ServiceError, units: float) -> None:
        """Record that the server refused ``part``, for which ``units`` were reserved."""
        names_tokens = "token" in str(error).lower()
        self.plan.refused(part, is_fault=is_fault(error), names_tokens=names_tokens)
        self.billed, error.billed = self.billed + error.billed, 0.0
        self._spare += units
        self.refusals.append(error)


class RemoteReranker(BaseReranker, ABC):
    """Asks a server for scores, one request after another, until the deadline.

    A request that the server refuses is halved, until the documents that it does not accept are
    found (they stay unscored) or the request is small enough. Such a limit is learned for ten
    minutes, and is a note of the outcome.
    """

    keeps_deadline = True
    local = False
    bills = True

    def __init__(self, wire: WireFormat, scale: Scale, options: RemoteOptions) -> None:
        self.listwise: bool = wire.listwise
        self._wire = wire
        self._scale = scale
        self._options = options
        self._limit = LearnedLimit(RequestLimit(options.batch_size, options.batch_tokens))
        self._secrets: tuple[str, ...] = ()

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

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return the server's scores; None for documents that it refused or had no time for.

        Raise `RerankError` for a wrong answer or none, and `RerankTimeoutError` if the deadline
        comes before any score.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Do as `score` does, as a flow for synchronous and asynchronous searches."""
        query, documents = valid_unicode(query), [valid_unicode(text) for text in documents]
        limit = self._limit.current()
        sent = documents[: limit.documents] if self.listwise else documents
        call = _Call(RequestPlan(request_tokens(query, sent), limit), len(documents))
        try:
            yield from self._ask_all(query, documents, call, deadline)
        except RerankTimeoutError:
            if not call.has_scores:
                if call.plan.next_limit != limit:
                    self._limit.learn(call.plan.next_limit)
                raise
        except RerankError as error:
            error.billed += call.billed
            raise
        if call.plan.limit != limit:
            self._limit.learn(call.plan.limit)
        read = Scores.from_logits if self._scale == "logits" else Scores.from_relevance
        return replace(read(call.scores, billed=call.billed), notes=self._notes(call.plan))

    def _ask_all(
        self, query: str, documents: Sequence[str], call: _Call, deadline: Deadline
    ) -> Flow[None]:
        """Make the requests of ``call``; raise the first refusal if the server refuses them all."""
        plan = call.plan

        def units(part: range) -> float:
            return self._units(query, documents[part.start : part.stop])

        while (part := plan.next(lambda one: call.may_add(units(one)))) is not None:
            batch = documents[part.start : part.stop]
            # The halves of a request that the server failed at in every retry are not retried.
            retries = 0 if call.refusals and is_fault(call.refusals[-1]) else self._options.retries
            try:
                answer = yield from self._send(query, batch, retries, deadline)
            except ServiceError as error:
                if not self._may_split(error):
                    raise
                call.refuse(part, error, units(part))
                if plan.is_hopeless:
                    break
            else:
                call.accept(part, answer)
                self._limit.accepted()
        if plan.is_hopeless:
            if len(documents) > 1:
                self._limit.refused_all()
            raise call.refusals[0]

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
        parts = self._limit.current().parts(request_tokens(query, documents))
        return sum(self._units(query, documents[part.start : part.stop]) for part in parts)

    def _units(self, query: str, documents: Sequence[str]) -> float:
        return predicted_units(self._wire, query, documents)

    def _attempts(
        self, attempt: Attempt, request: ScoreRequest, where: str, retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        """Return what ``attempt`` returns; each retry has its own deadline.

        A late request keeps its part of a budget, since the service may bill it. A retry after it
        is made only if the budget has room for both.
        """
        tries = count(1)
        units = self._units(request.query, request.documents)
        is_late = False

        def one() -> Flow[Reply]:
            nonlocal is_late
            if (number := next(tries)) > 1:
                if is_late and not reserve_more(units):
                    raise RerankerSkippedError(f"{where} was late, and a budget allows no retry")
                telemetry.count_retry(self.name)
            is_late = False
            try:
                with telemetry.span("attempt", {"server.address": where, "number": number}):
                    return (yield from attempt(deadline.at_most(self._options.timeout)))
            except (TimeoutError, httpx.RequestError) as error:
                if isinstance(error, RerankError):
                    raise
                is_late = isinstance(error, TimeoutError | httpx.TimeoutException)
                is_late = is_late and not isinstance(error, _NOT_SENT)
                if is_late:
                    keep_reservation(units)
                failed = failure(error, where, deadline, self._secrets)
                cause = masked_cause(error, self._secrets)
            raise failed from cause

        return (yield from retry(one, within(deadline, retries)))

    def _refusal(
        self,
        status: int,
        headers: Mapping[str, str],
        body: object,
        where: str,
        request: ScoreRequest,
        deadline: Deadline,
    ) -> Flow[ServiceError]:
        """Return the error for a response with this ``status`` and parsed ``body``.

        The message is the server's own, unless reading it takes too long.
        """
        sent = (request.query, *request.documents)
        found = find_message(body, self._wire.error)

        def work() -> str:
            return presentable(found, self._secrets, sent)

        try:
            said = yield from off_loop(work, sum(map(len, sent)) if found else 0, deadline)
        except TimeoutError:
            said = ""
        inner = embedded_status(body) if status == httpx.codes.OK else None
        answered = f"{status} with error {inner}" if inner else str(status)
        effective = inner or status
        return ServiceError(
            f"{where} answered {answered}{advice(effective)}{f': {said}' if said else ''}",
            transient=is_transient(effective),
            retry_after=retry_after(headers.get("retry-after")),
            request_rejected=effective in _REJECTED,
            status=effective,
        )

    def _reply(
        self, answer: object, where: str, request: ScoreRequest, deadline: Deadline
    ) -> Flow[Reply]:
        """Return the scores in a response with status 200.

        Raise `ServiceError` with the server's message if it holds one instead, or says what is
        wrong with the scores.
        """
        try:
            return reply(answer, request, self._wire)
        except RerankError as error:
            wrong = ServiceError(f"{where}: {error}")
            results = self._wire.results
            has_results = isinstance(value_at(answer, (results,)) if results else answer, list)
        if names_error(answer, has_results=has_results):
            wrong = yield from self._refusal(200, {}, answer, where, request, deadline)
        raise wrong


def off_loop(work: Callable[[], T], size: int, deadline: Deadline) -> Flow[T]:
    """Return what ``work`` does; in a thread if its ``size`` (bytes, characters) may take long.

    Raise `TimeoutError` if it is still running at the deadline.
    """
    if size <= _INLINE:
        return work()
    result: T = yield Compute(work, deadline.remaining())
    return result


def clean_key(key: str | None) -> str | None:
    """Return ``key`` without surrounding whitespace; None if there is none.

    Raise `ConfigurationError`, without the key in it, if no header can hold it.
    """
    if key is not None and not isinstance(key, str):
        raise ConfigurationError("api_key", f"must be a str, got {type(key).__name__}")
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("api_key", "must be printable ASCII without spaces")
    return key or None


def checked_url(url: str, argument: str = "url") -> str:
    """Return ``url`` if it names a server; `ConfigurationError` does not repeat it."""
    if not isinstance(url, str) or not names_server(url):
        raise ConfigurationError(argument, "must be http://host... or https://host...")
    return url
