"""Write batches: repeat what can succeed, and find the documents that cannot be stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import tenacity
from more_itertools import chunked

from vecdb_rerank.errors import IngestError
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.retry import retry
from vecdb_rerank.ingest.model import Cause, Failure, Writer
from vecdb_rerank.model import HitId

ItemT = TypeVar("ItemT")


def key_of(doc_id: HitId) -> int:
    """Return a small stand-in for an id: 7 and "7" are the same one."""
    return hash(str(doc_id))


class Item(NamedTuple, Generic[ItemT]):
    """A document in the database's form."""

    id: HitId
    native: ItemT


class BatchWriter(Generic[ItemT]):
    """Writes batches: repeats what can succeed and finds the document that cannot.

    ``stored`` are the keys of the documents stored so far.
    """

    def __init__(self, writer: Writer[ItemT], give_up_after: float) -> None:
        self._writer = writer
        self._give_up_after = give_up_after
        self._give_up_at = 0.0
        self._at_most: int | None = None  # documents in a request, once a larger one was refused
        self._unanswered: dict[int, ItemT] = {}
        self.stored: set[int] = set()
        self.retries = 0

    def write(self, items: Sequence[Item[ItemT]]) -> Flow[list[Failure]]:
        """Store ``items`` and return the failures; raise `IngestError` if it cannot go on."""
        self._give_up_at = time.monotonic() + self._give_up_after
        failures: list[Failure] = []
        try:
            for part in chunked(items, self._at_most):
                failures += yield from self._halving(part)
        except IngestError as error:
            count = yield from self._count_stored()
            raise IngestError(f"{error}; {count}, run again") from error.__cause__
        return failures

    def _halving(self, items: Sequence[Item[ItemT]]) -> Flow[list[Failure]]:
        """Store ``items``; in halves if the database refuses them together."""
        try:
            return (yield from self._persistently(items))
        except IngestError:
            raise
        except Exception as error:
            cause = self._cause(error)
            described = self._writer.describe_error(error)
            late = time.monotonic() >= self._give_up_at
            if cause in ("transient", "fatal") or (cause == "timeout" and (late or len(items) < 2)):
                raise IngestError(described) from error
            if len(items) == 1:
                return [Failure(items[0].id, described)]
        middle = len(items) // 2
        if cause == "too_large":
            self._at_most = min(middle, self._at_most or middle)
        first = yield from self._halving(items[:middle])
        second = yield from self._halving(items[middle:])
        return first + second

    def _persistently(self, items: Sequence[Item[ItemT]]) -> Flow[list[Failure]]:
        """Store ``items``; repeat what the server could not do for now."""
        pending = list(items)
        failures: list[Failure] = []

        def attempt() -> Flow[None]:
            nonlocal pending
            busy = yield from self._send(pending, failures)
            pending = [pending[n] for n in busy]
            if busy:
                raise _Busy(next(iter(busy.values())))

        def may_pass(error: BaseException) -> bool:
            if not isinstance(error, Exception):
                return False
            cause = self._cause(error)
            return cause == "transient" or (cause == "timeout" and len(pending) == 1)

        yield from retry(attempt, self._retrying(may_pass))
        return failures

    def _send(
        self, items: Sequence[Item[ItemT]], failures: list[Failure]
    ) -> Flow[Mapping[int, str]]:
        """Send one request; return the items that are busy."""
        try:
            result = yield from self._writer.write([item.native for item in items])
        except Exception as error:
            if self._cause(error) in ("transient", "timeout"):
                self._unanswered |= {key_of(item.id): item.native for item in items}
            raise
        for item in items:
            self._unanswered.pop(key_of(item.id), None)
        refused = result.rejected.keys() | result.busy.keys()
        stored = {key_of(item.id) for n, item in enumerate(items) if n not in refused}
        if stored:
            self.stored |= stored
            self._give_up_at = time.monotonic() + self._give_up_after
        failures += [Failure(items[n].id, why) for n, why in result.rejected.items()]
        if result.fatal is not None:
            raise IngestError(result.fatal)
        return result.busy

    def _cause(self, error: Exception) -> Cause:
        return "transient" if isinstance(error, _Busy) else self._writer.cause(error)

    def _retrying(self, may_pass: Callable[[BaseException], bool]) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_pass),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            stop=lambda _state: time.monotonic() >= self._give_up_at,
            before_sleep=self._count_retry,
            reraise=True,
        )

    def _count_retry(self, _state: tenacity.RetryCallState) -> None:
        self.retries += 1

    def _count_stored(self) -> Flow[str]:
        """Return how many documents are stored; ask for those whose answer was lost."""
        lost = list(self._unanswered.items())
        try:
            found = (yield from self._writer.stored([native for _, native in lost])) if lost else ()
        except Exception:  # as far away as before
            return f"at least {len(self.stored)} documents are stored"
        self.stored |= {lost[n][0] for n in found}
        return f"{len(self.stored)} documents are stored"


class _Busy(Exception):
    """The server could not store some items for now."""
