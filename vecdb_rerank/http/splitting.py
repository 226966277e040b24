"""One call over many texts, made in several requests within the limits of a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.failures import is_fault
from vecdb_rerank.http.request_limits import LearnedLimit, RequestPlan
from vecdb_rerank.http.retry import ServiceError

T = TypeVar("T")


class SplitCall(Generic[T]):
    """The requests of one call, one after another, and their results by text.

    A request that the service refuses is halved, until the texts that it does not accept are
    found or the request is small enough. ``tokens`` are those of each text. ``results`` holds None
    for texts without a result. A limit that was found so is kept by `learn`.
    """

    def __init__(self, tokens: Sequence[float], limit: LearnedLimit, count: int) -> None:
        self._learned = limit
        self._limit = limit.current()
        self.plan = RequestPlan(tokens, self._limit)
        self.results: list[T | None] = [None] * count
        self.refusals: list[ServiceError] = []

    def run(
        self,
        send: Callable[[range, bool], Flow[Sequence[T]]],
        *,
        split: Callable[[range, ServiceError], bool],
        may_add: Callable[[range], bool] = lambda _part: True,
    ) -> Flow[None]:
        """Make the requests; raise the first refusal if the service refuses all texts.

        ``send`` makes the request for some of the texts and returns their results; its second
        argument is whether retries may help. ``split`` is called for a failed request, and returns
        whether its halves may be tried. ``may_add`` is called before each request beyond the
        planned ones, and returns whether it may be made.
        """
        plan = self.plan
        while (part := plan.next(may_add)) is not None:
            # The halves of a request that the server failed at in every retry are not retried.
            may_retry = not (self.refusals and is_fault(self.refusals[-1]))
            try:
                results = yield from send(part, may_retry)
            except ServiceError as error:
                if not split(part, error):
                    raise
                self._refuse(part, error)
                if plan.is_hopeless:
                    break
            else:
                plan.accepted(part)
                self.results[part.start : part.stop] = results
                self._learned.accepted()
        if plan.is_hopeless:
            if len(self.results) > 1:
                self._learned.refused_all()
            raise self.refusals[0]

    def _refuse(self, part: range, error: ServiceError) -> None:
        names_tokens = "token" in str(error).lower()
        self.plan.refused(part, is_fault=is_fault(error), names_tokens=names_tokens)
        self.refusals.append(error)

    @property
    def has_results(self) -> bool:
        """Whether any text has a result."""
        return any(result is not None for result in self.results)

    def learn(self, *, late: bool = False) -> None:
        """Keep the limit that the refusals taught.

        ``late``: the deadline came before any result, so that the next call needs smaller requests.
        """
        found = self.plan.next_limit if late else self.plan.limit
        if found != self._limit:
            self._learned.learn(found)
