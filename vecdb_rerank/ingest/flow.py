"""Add documents in batches: in bounded memory, repeatable, with a reason for each failure.

A database only defines how to write a batch and what an error means; see `ingest.model.Writer`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import tenacity
from more_itertools import chunked, constrained_batches

from vecdb_rerank.embedders.flows import document_vectors
from vecdb_rerank.errors import ConfigurationError, EmbedderError, IngestError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.retry import retry
from vecdb_rerank.ingest.model import (
    Cause,
    Document,
    Failure,
    IngestOptions,
    IngestReport,
    Writer,
    plain_id,
)
from vecdb_rerank.model import HitId
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.text_fields import TextFields

ItemT = TypeVar("ItemT")

_BYTES_PER_NUMBER = 20  # of a vector, as JSON


class _Read(NamedTuple):
    """A document and its text."""

    id: HitId
    document: Document
    text: str


class _Item(NamedTuple, Generic[ItemT]):
    """A document in the database's form."""

    id: HitId
    native: ItemT


def ingest(
    writer: Writer[ItemT],
    source: Iterable[Document | Mapping[str, object]],
    embedder: Embedder | None,
    text_fields: TextFields,
    options: IngestOptions,
) -> Flow[IngestReport]:
    """Add all documents of ``source`` and return the report.

    Memory holds one batch, and a hash of each id to count distinct documents.

    Raises `ConfigurationError` for a document without a valid id (before anything is sent, if
    ``source`` is a sequence; else before the batch that it would be in), and `IngestError` if the
    database accepts nothing for ``give_up_after`` seconds, or never will, or if an embedding
    service returns nothing for so long.
    """
    started = time.monotonic()
    batches = _BatchWriter(writer, options.give_up_after)
    failed: list[Failure] = []
    without_text: set[int] = set()
    done = 0
    for batch in constrained_batches(
        _read(source, text_fields),
        options.batch_bytes,
        options.batch_size,
        get_len=_size,
        strict=False,
    ):
        try:
            deadline = Deadline.after(options.give_up_after)
            items, unfit = yield from _prepare(writer, batch, embedder, deadline)
        except EmbedderError as error:
            stored = len(batches.stored)
            raise IngestError(f"{error}; {stored} documents are stored, run again") from error
        failed += [*unfit, *(yield from batches.write(items))]
        without_text -= {_key(read.id) for read in batch}
        without_text |= {_key(read.id) for read in batch if not read.text.strip()}
        done += len(batch)
        if options.on_progress is not None:
            options.on_progress(done)
    return IngestReport(
        added=len(batches.stored),
        failed=tuple(failed),
        retries=batches.retries,
        seconds=time.monotonic() - started,
        without_text=len(without_text & batches.stored),
    )


def _read(
    source: Iterable[Document | Mapping[str, object]], text_fields: TextFields
) -> Iterator[_Read]:
    """Yield the documents with their texts; check those of a sequence first."""
    documents = (_document(number, given) for number, given in enumerate(source))
    for document in list(documents) if isinstance(source, Sequence) else documents:
        text = text_fields.text(document.payload)
        yield _Read(plain_id(document.id, "id"), document, text)


def _document(number: int, given: object) -> Document:
    try:
        return Document.read(given)
    except ConfigurationError as error:
        raise error.within(f"documents[{number}]") from None


def _size(read: _Read) -> int:
    """Return the approximate bytes of a document in a request: its text goes twice."""
    vector = () if read.document.vector is None else read.document.vector
    try:
        payload = len(json.dumps(read.document.payload, default=str))
    except (TypeError, ValueError, RecursionError):  # cannot be stored, as the writer will find
        payload = 0
    return payload + len(read.text) + _BYTES_PER_NUMBER * len(vector)


def _key(doc_id: HitId) -> int:
    """Return a small stand-in for an id: 7 and "7" are the same one."""
    return hash(str(doc_id))


def _prepare(
    writer: Writer[ItemT], batch: Sequence[_Read], embedder: Embedder | None, deadline: Deadline
) -> Flow[tuple[list[_Item[ItemT]], list[Failure]]]:
    """Return the items to write, and the documents that cannot be written.

    Of several documents with the same id the last is written.
    """
    made: Mapping[int, Vector | None] = {}
    missing = [n for n, read in enumerate(batch) if read.document.vector is None]
    if embedder is not None and missing:
        texts = [batch[n].text for n in missing]
        vectors = yield from document_vectors(embedder, texts, deadline)
        made = dict(zip(missing, vectors, strict=True))
    items: dict[str, _Item[ItemT]] = {}
    unfit: list[Failure] = []
    for n, (doc_id, document, text) in enumerate(batch):
        if n in made and made[n] is None:
            unfit.append(Failure(doc_id, "the embedding service refused its text"))
            continue
        try:
            native = writer.item(document, text, made.get(n, document.vector))
        except (ValueError, TypeError) as error:
            unfit.append(Failure(doc_id, str(error)))
        else:
            items[str(doc_id)] = _Item(doc_id, native)
    return list(items.values()), unfit


class _BatchWriter(Generic[ItemT]):
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

    def write(self, items: Sequence[_Item[ItemT]]) -> Flow[list[Failure]]:
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

    def _halving(self, items: Sequence[_Item[ItemT]]) -> Flow[list[Failure]]:
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

    def _persistently(self, items: Sequence[_Item[ItemT]]) -> Flow[list[Failure]]:
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
        self, items: Sequence[_Item[ItemT]], failures: list[Failure]
    ) -> Flow[Mapping[int, str]]:
        """Send one request; return the items that are busy."""
        try:
            result = yield from self._writer.write([item.native for item in items])
        except Exception as error:
            if self._cause(error) in ("transient", "timeout"):
                self._unanswered |= {_key(item.id): item.native for item in items}
            raise
        for item in items:
            self._unanswered.pop(_key(item.id), None)
        refused = result.rejected.keys() | result.busy.keys()
        stored = {_key(item.id) for n, item in enumerate(items) if n not in refused}
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
