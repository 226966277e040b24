"""Score each document in a call of its own: the probability of "yes", or a grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from vecdb_rerank.errors import RerankError, RerankerSkippedError, RerankTimeoutError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, together
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.model import Scores
from vecdb_rerank.rerankers.chat.answers import Reply, grade, yes_logit
from vecdb_rerank.rerankers.chat.client import CappedError, Chat, Question
from vecdb_rerank.rerankers.chat.dialect import Want
from vecdb_rerank.rerankers.chat.listwise import TOO_FEW_TOKENS, capped
from vecdb_rerank.rerankers.chat.meter import Meter
from vecdb_rerank.rerankers.chat.prompts import grade_messages, grade_schema, yes_no_messages

_GRADE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Judging:
    """How single documents are asked for."""

    instruction: str | None
    answer_tokens: int | None

    def question(self, query: str, document: str, *, by_logprobs: bool) -> Question:
        """Return what is asked about one document."""
        if by_logprobs:  # one token is enough
            messages = yes_no_messages(query, document, self.instruction)
            return Question(messages, (query, document), Want(1, logprobs=True))
        messages = grade_messages(query, document, self.instruction)
        want = Want(self.answer_tokens or _GRADE_TOKENS, grade_schema())
        return Question(messages, (query, document), want)

    def questions(
        self, query: str, documents: Sequence[str], *, by_logprobs: bool
    ) -> list[Question]:
        """Return what is asked about several documents."""
        return [self.question(query, text, by_logprobs=by_logprobs) for text in documents]


class PointwiseCall:
    """The scores of the documents of one search, several of which are asked for at once."""

    def __init__(
        self, chat: Chat, rules: Judging, query: str, documents: Sequence[str], meter: Meter
    ) -> None:
        self._chat = chat
        self._rules = rules
        self._query = query
        self._documents = documents
        self._meter = meter
        self._by_logprobs = chat.has_logprobs
        self._found: list[float | None] = [None] * len(documents)
        self._unusable: list[str] = []  # why documents have no score
        self._unsent = 0  # documents beyond the limits of a search
        self._error: RerankError | None = None  # that ends the call

    def scores(self, deadline: Deadline) -> Flow[Scores]:
        """Return scores; None for documents that there was no time for, or no usable answer.

        Raise `RerankError` if a request fails for another reason than its document, or if no
        document was scored, and `RerankTimeoutError` if the deadline is the reason.
        """
        first, count = 0, len(self._documents)
        if not self._chat.is_settled:  # one answer tells whether there are log probabilities
            yield from self._score_first(deadline)
            first = 1
        yield from together([partial(self._score, n, deadline) for n in range(first, count)])
        if self._error is not None:
            raise self._error
        if all(score is None for score in self._found):
            raise self._why_nothing()
        read = Scores.from_logits if self._by_logprobs else Scores.from_relevance
        return replace(read(self._found, billed=self._meter.billed), notes=self._notes())

    def _question(self, n: int) -> Question:
        return self._rules.question(self._query, self._documents[n], by_logprobs=self._by_logprobs)

    def _score_first(self, deadline: Deadline) -> Flow[None]:
        """Score the first document; ask for grades if its answer has no probabilities."""
        yield from self._score(0, deadline)
        if self._by_logprobs and self._chat.is_settled and self._found[0] is None:
            self._chat.leave_out_logprobs()
            self._by_logprobs = False
            self._unusable.clear()
            yield from self._score(0, deadline)

    def _score(self, n: int, deadline: Deadline) -> Flow[None]:
        if self._error is not None or deadline.expired:
            return
        try:
            reply = yield from self._chat.ask(self._question(n), self._meter, deadline)
        except RerankTimeoutError:
            return
        except CappedError:
            self._unsent += 1
            return
        except RerankError as error:
            if isinstance(error, ServiceError) and error.request_rejected:
                self._unusable.append(str(error))
            else:
                self._error = error
            return
        self._found[n] = score = self._read(reply)
        if score is None:
            self._unusable.append(reply.why_unusable("yes or no" if self._by_logprobs else "grade"))

    def _read(self, reply: Reply) -> float | None:
        if not self._by_logprobs:
            return grade(reply.text)
        return None if reply.alternatives is None else yes_logit(reply.alternatives)

    def _why_nothing(self) -> RerankError:
        if self._unsent:
            return RerankerSkippedError(f"{self._chat.name}: {TOO_FEW_TOKENS}")
        if not self._unusable:
            return RerankTimeoutError(f"{self._chat.name} did not answer in time")
        if self._by_logprobs:  # the next call asks for grades
            self._chat.leave_out_logprobs()
        return RerankError(f"{self._chat.name} scored no document: {self._unusable[0]}")

    def _notes(self) -> dict[str, str]:
        notes = {}
        name, count = self._chat.name, len(self._documents)
        if self._unusable:
            notes["answers_unusable"] = (
                f"{name} gave {len(self._unusable)} of {count} documents no score: "
                f"{self._unusable[0]}"
            )
        if self._unsent:
            notes["calls_capped"] = capped(name, count - self._unsent, count)
        return notes
