"""One chat endpoint: requests in the server's dialect, within limits, with one owner of retries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.endpoint import Endpoint
from vecdb_rerank.http.json_client import JsonClient
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.server_messages import find_message, presentable
from vecdb_rerank.http.service import Service
from vecdb_rerank.rerankers.chat.answers import Reply, reply
from vecdb_rerank.rerankers.chat.dialect import Dialect, Want
from vecdb_rerank.rerankers.chat.meter import Meter
from vecdb_rerank.rerankers.chat.prompts import Message
from vecdb_rerank.rerankers.remote import counted_attempts


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked in one request; ``texts`` are those in it that no error may repeat."""

    messages: Sequence[Message]
    texts: Sequence[str] = field(repr=False)
    want: Want

    @property
    def tokens(self) -> float:
        """The estimated tokens of the request and of the longest answer."""
        return self.prompt_tokens + self.want.tokens

    @property
    def prompt_tokens(self) -> float:
        """The estimated tokens of the request."""
        return sum(estimated_tokens(message["content"]) for message in self.messages)


class CappedError(RerankError):
    """A request would be beyond the limits of a search."""


class Chat:
    """Asks one model, and learns which fields of a request its server refuses."""

    def __init__(
        self,
        name: str,
        model: str,
        endpoint: Endpoint,
        service: Service,
        client: JsonClient,
        *,
        retries: int,
        extra_body: Mapping[str, object],
    ) -> None:
        self.name = name
        self._model = model
        self._endpoint = endpoint
        self._service = service
        self._client = client
        self._retries = retries
        self._extra_body = extra_body
        self._dialect = Dialect()
        self._is_settled = False  # whether the server has accepted a request

    @property
    def is_settled(self) -> bool:
        """Whether the server has answered, so that its dialect is known."""
        return self._is_settled

    @property
    def has_logprobs(self) -> bool:
        """Whether the server gives log probabilities, as far as is known."""
        return self._dialect.alternatives > 0

    def leave_out_logprobs(self) -> None:
        """Ask for no log probabilities from now on."""
        self._dialect = replace(self._dialect, alternatives=0)

    def ask(self, question: Question, meter: Meter, deadline: Deadline) -> Flow[Reply]:
        """Return the answer; fields that the server refuses are left out, and the request repeated.

        Raise `RerankError` for a wrong answer or none, and `RerankTimeoutError` at the deadline.
        """
        dialect, may_simplify = self._dialect, not self._is_settled
        while True:
            try:
                found = yield from self._send(question, dialect, meter, deadline)
            except ServiceError as error:
                if not error.request_rejected:
                    raise
                simpler = dialect.without(str(error), question.want)
                if simpler is None and may_simplify:
                    simpler, may_simplify = dialect.plain(question.want), False
                if simpler is None:
                    raise
                dialect = simpler
            else:
                self._dialect, self._is_settled = dialect, True
                return found

    def _send(
        self, question: Question, dialect: Dialect, meter: Meter, deadline: Deadline
    ) -> Flow[Reply]:
        where, tokens = self._endpoint.shown, question.tokens
        units = meter.units(question.prompt_tokens, question.want.tokens)
        body = {
            "model": self._model,
            "messages": list(question.messages),
            **dialect.fields(question.want),
            **self._extra_body,
        }

        def attempt(soon: Deadline) -> Flow[Reply]:
            if not meter.begin(tokens):
                raise CappedError(f"{where}: this search has used up its max_calls or max_tokens")
            message = self._endpoint.post(body)
            found = yield from self._client.exchange(
                self._service, message, read, where, question.texts, soon
            )
            meter.end(tokens, found)
            return found

        def read(answer: object) -> Flow[Reply]:
            found = yield from self._service.reading(reply, answer, where, question.texts, deadline)
            if not found.refusal:
                return found
            secrets, sent = self._service.secrets, question.texts
            said = presentable(find_message(found.refusal), secrets, sent)
            return replace(found, refusal=said or "it refused to answer")

        return (
            yield from counted_attempts(
                self._service, self.name, attempt, units, where, self._retries, deadline
            )
        )
