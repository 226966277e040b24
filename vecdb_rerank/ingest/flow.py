"""Add documents in batches: in bounded memory, repeatable, with a reason for each failure.

A database only defines how to write a batch and what an error means; see `ingest.model.Writer`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from more_itertools import constrained_batches

from vecdb_rerank.embedders.flows import document_vectors
from vecdb_rerank.errors import ConfigurationError, EmbedderError, IngestError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, alongside
from vecdb_rerank.ingest.batch_writer import BatchWriter, Item, key_of
from vecdb_rerank.ingest.model import (
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


def ingest(
    writer: Writer[ItemT],
    source: Iterable[Document | Mapping[str, object]],
    embedder: Embedder | None,
    text_fields: TextFields,
    options: IngestOptions,
) -> Flow[IngestReport]:
    """Add all documents of ``source`` and return the report.

    A batch is embedded while the one before it is written. Memory holds these two, and a hash of
    each id to count distinct documents.

    Raises `ConfigurationError` for a document without a valid id (before anything is sent, if
    ``source`` is a sequence; else before the batch that it would be in), and `IngestError` if the
    database accepts nothing for ``give_up_after`` seconds, or never will, or if an embedding
    service returns nothing for so long. Batches before an error are written.
    """
    started = time.monotonic()
    storing = _Storing(writer, options)
    ready: _Embedded | None = None
    try:
        for batch in _batches(source, text_fields, options):
            before, ready = ready, None
            embed = partial(_embed, batch, embedder, options.give_up_after)
            if embedder is None:
                yield from storing.store((yield from embed()))
            elif before is None:
                ready = yield from embed()
            else:
                _, ready = yield from alongside(partial(storing.store, before), embed)
    except EmbedderError as error:
        raise IngestError(f"{error}; {storing.count} documents are stored, run again") from error
    except Exception:
        if ready is not None:  # reading the next batch failed
            yield from storing.store(ready)
        raise
    if ready is not None:
        yield from storing.store(ready)
    return storing.report(time.monotonic() - started)


def _batches(
    source: Iterable[Document | Mapping[str, object]],
    text_fields: TextFields,
    options: IngestOptions,
) -> Iterator[Sequence[_Read]]:
    return constrained_batches(
        _read(source, text_fields),
        options.batch_bytes,
        options.batch_size,
        get_len=_size,
        strict=False,
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


class _Embedded(NamedTuple):
    """A batch, and the vectors made for documents that bring none, by their index in it."""

    batch: Sequence[_Read]
    vectors: Mapping[int, Vector | None]


def _embed(
    batch: Sequence[_Read], embedder: Embedder | None, give_up_after: float
) -> Flow[_Embedded]:
    missing = [n for n, read in enumerate(batch) if read.document.vector is None]
    if embedder is None or not missing:
        return _Embedded(batch, {})
    texts = [batch[n].text for n in missing]
    vectors = yield from document_vectors(embedder, texts, Deadline.after(give_up_after))
    return _Embedded(batch, dict(zip(missing, vectors, strict=True)))


class _Storing(Generic[ItemT]):
    """Stores embedded batches, and counts."""

    def __init__(self, writer: Writer[ItemT], options: IngestOptions) -> None:
        self._writer = writer
        self._options = options
        self._batches = BatchWriter(writer, options.give_up_after)
        self._failed: list[Failure] = []
        self._without_text: set[int] = set()
        self._done = 0

    @property
    def count(self) -> int:
        """The number of distinct documents stored so far."""
        return len(self._batches.stored)

    def store(self, embedded: _Embedded) -> Flow[None]:
        """Write a batch; raise `IngestError` if the database cannot."""
        batch = embedded.batch
        items, unfit = self._items(embedded)
        self._failed += [*unfit, *(yield from self._batches.write(items))]
        self._without_text -= {key_of(read.id) for read in batch}
        self._without_text |= {key_of(read.id) for read in batch if not read.text.strip()}
        self._done += len(batch)
        if self._options.on_progress is not None:
            self._options.on_progress(self._done)

    def report(self, seconds: float) -> IngestReport:
        """Return what was stored in all."""
        return IngestReport(
            added=self.count,
            failed=tuple(self._failed),
            retries=self._batches.retries,
            seconds=seconds,
            without_text=len(self._without_text & self._batches.stored),
        )

    def _items(self, embedded: _Embedded) -> tuple[list[Item[ItemT]], list[Failure]]:
        """Return the items to write, and the documents that cannot be written.

        Of several documents with the same id the last is written.
        """
        made = embedded.vectors
        items: dict[str, Item[ItemT]] = {}
        unfit: list[Failure] = []
        for n, (doc_id, document, text) in enumerate(embedded.batch):
            if n in made and made[n] is None:
                unfit.append(Failure(doc_id, "the embedding service refused its text"))
                continue
            try:
                native = self._writer.item(document, text, made.get(n, document.vector))
            except (ValueError, TypeError) as error:
                unfit.append(Failure(doc_id, str(error)))
            else:
                items[str(doc_id)] = Item(doc_id, native)
        return list(items.values()), unfit
