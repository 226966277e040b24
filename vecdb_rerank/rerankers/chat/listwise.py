"""Rank by windows of documents, from the end of the list to its front (RankGPT).

Sun et al., Is ChatGPT Good at Search?, 2023: each window is ordered by the model, and overlaps the
next one, so that the best documents of the list move to its front.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import RerankError, RerankerSkippedError, RerankTimeoutError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.model import Scores
from vecdb_rerank.ranking.blending import relevance_by_rank
from vecdb_rerank.rerankers.chat.answers import Permutation, permutation
from vecdb_rerank.rerankers.chat.client import Chat, Question
from vecdb_rerank.rerankers.chat.dialect import Want
from vecdb_rerank.rerankers.chat.meter import Meter
from vecdb_rerank.rerankers.chat.prompts import ranking_messages, ranking_schema
from vecdb_rerank.resilience.latency import LatencyModel

_TOKENS_PER_NUMBER = 6  # of an answer, with what is around the number
_TOKENS_AROUND = 64
TOO_FEW_TOKENS = "max_tokens is too low for one request; raise it or lower document_tokens"


def windows(count: int, size: int, stride: int) -> list[range]:
    """Return the windows of ``count`` documents, the last documents first; all but one overlap.

    Each is of ``size`` documents, or of all if there are fewer, and starts ``stride`` before the
    one that precedes it, or at the front.
    """
    starts = [*range(max(0, count - size), 0, -stride), 0]
    return [range(start, min(start + size, count)) for start in starts]


@dataclass(frozen=True, slots=True)
class Windows:
    """How documents are asked for in windows; `windows` explains ``size`` and ``stride``.

    With a ``seed``, the documents of a window are numbered at random, against a model's preference
    for the first ones; the same query and documents are always numbered in the same way.
    """

    size: int
    stride: int
    seed: int | None
    instruction: str | None
    answer_tokens: int | None

    def question(self, query: str, documents: Sequence[str]) -> Question:
        """Return what is asked about one window."""
        count = len(documents)
        tokens = self.answer_tokens or _TOKENS_AROUND + _TOKENS_PER_NUMBER * count
        messages = ranking_messages(query, documents, self.instruction)
        return Question(messages, (query, *documents), Want(tokens, ranking_schema(count)))

    def questions(self, query: str, documents: Sequence[str]) -> list[Question]:
        """Return what a whole pass asks, if no answer changes the order."""
        parts = windows(len(documents), self.size, self.stride)
        return [self.question(query, documents[p.start : p.stop]) for p in parts]

    def numbering(self, query: str, part: range) -> list[int]:
        """Return the order in which the documents of a window are numbered."""
        order = list(range(len(part)))
        if self.seed is not None:
            random.Random(f"{self.seed} {part.start} {query}").shuffle(order)
        return order


class ListwiseCall:
    """The ranking of the documents of one search."""

    def __init__(
        self, chat: Chat, rules: Windows, query: str, documents: Sequence[str], meter: Meter
    ) -> None:
        self._chat = chat
        self._rules = rules
        self._query = query
        self._documents = documents
        self._meter = meter
        self._pending = windows(len(documents), rules.size, rules.stride)
        self._tokens = [question.tokens for question in rules.questions(query, documents)]
        self._seconds: list[float] = []  # that windows took
        self._order = list(range(len(documents)))
        self._answers: list[Permutation] = []
        self._kept: list[str] = []  # why windows kept their order
        self._is_capped = False

    def scores(self, latency: LatencyModel, deadline: Deadline) -> Flow[Scores]:
        """Return scores by rank alone.

        The first window is ranked alone, and the other documents get None, if a whole pass has no
        time or would take too many calls or tokens. Raise `RerankError` if no answer is usable.
        """
        if not self._meter.count_affordable(self._tokens[-1:]):
            raise RerankerSkippedError(f"{self._chat.name}: {TOO_FEW_TOKENS}")
        while self._pending:
            if len(self._pending) > 1 and not self._fits(latency, deadline):
                self._rank_front_alone()
            share = deadline.at_most(deadline.remaining() / len(self._pending))
            part = self._pending.pop(0)
            started = time.monotonic()
            try:
                with latency.timing(len(part), fair=True) as timing:
                    yield from self._rank(part, share)
                    timing.scored = len(part)
            except RerankTimeoutError:
                if not self._pending:
                    raise
                self._rank_front_alone()
            self._seconds.append(time.monotonic() - started)
        if not self._answers:
            raise RerankError(f"{self._chat.name} returned no ranking ({self._kept[0]})")
        return self._by_rank()

    def _fits(self, latency: LatencyModel, deadline: Deadline) -> bool:
        """Return whether the pending windows have the time, calls and tokens that they need."""
        count = len(self._pending)
        if self._meter.count_affordable(self._tokens[-count:]) < count:
            self._is_capped = True
            return False
        estimate = latency.estimate()
        each = 0.0 if estimate is None else estimate.seconds(self._rules.size)
        if self._seconds:
            each = statistics.fmean(self._seconds)
        return count * each <= deadline.remaining()

    def _rank_front_alone(self) -> None:
        """Rank the first window as the first pass ordered it, and no other documents."""
        self._order = list(range(len(self._documents)))[: self._rules.size]
        self._pending = [range(len(self._order))]
        self._answers.clear()
        self._kept.clear()

    def _rank(self, part: range, deadline: Deadline) -> Flow[None]:
        """Order one window; it keeps its order if the answer holds none, or is refused."""
        window = self._order[part.start : part.stop]
        numbering = self._rules.numbering(self._query, part)
        asked = [window[n] for n in numbering]
        question = self._rules.question(self._query, [self._documents[n] for n in asked])
        try:
            reply = yield from self._chat.ask(question, self._meter, deadline)
        except ServiceError as error:
            if not error.request_rejected:
                raise
            self._kept.append(str(error))
            return
        found = permutation(reply.text, len(asked))
        if found is None:
            self._kept.append(reply.why_unusable("order"))
            return
        self._answers.append(found)
        self._order[part.start : part.stop] = [asked[n] for n in found.order]

    def _by_rank(self) -> Scores:
        values: list[float | None] = [None] * len(self._documents)
        ranks = relevance_by_rank([-float(n) for n in range(len(self._order))])
        for n, value in zip(self._order, ranks, strict=True):
            values[n] = value
        # Calibrated: relevance by rank is that of a calibrated reranker.
        return Scores(
            values, values, billed=self._meter.billed, notes=self._notes(), calibrated=True
        )

    def _notes(self) -> dict[str, str]:
        notes = {}
        name, total = self._chat.name, len(self._answers) + len(self._kept)
        if repaired := [answer for answer in self._answers if answer.is_repaired]:
            wrong = ", ".join(
                f"{count} {what}"
                for what in ("missing", "doubled", "unknown")
                if (count := sum(getattr(answer, what) for answer in repaired))
            )
            notes["ranking_repaired"] = (
                f"{len(repaired)} of {total} answers of {name} were not permutations "
                f"(numbers: {wrong})"
            )
        if self._kept:
            notes["answers_unusable"] = (
                f"{len(self._kept)} of {total} windows kept their order, since {name} returned no "
                f"ranking ({self._kept[0]})"
            )
        if self._is_capped:
            notes["calls_capped"] = capped(name, len(self._order), len(self._documents))
        return notes


def capped(name: str, asked: int, count: int) -> str:
    """Return the note for a call that the limits of a search cut to ``asked`` documents."""
    return f"{name} read {asked} of {count} documents: raise its max_calls or max_tokens"
