"""Adding documents: batched, in bounded memory, safe to run again, nothing lost in silence.

Colourless like the pipeline; a database only says how to write a batch and what an error means.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import tenacity
from more_itertools import constrained_batches

from vecdb_rerank.errors import IngestError
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.http.retry import retry
from vecdb_rerank.ingest.model import Document, Failure, IngestOptions, IngestReport, Writer
from vecdb_rerank.model import HitId
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.text_fields import TextFields

T = TypeVar("T")

ItemT = TypeVar("ItemT")


def ingest(
    writer: Writer[ItemT],
    source: Iterable[Document | Mapping[str, Any]],
    embedder: Embedder | None,
    texts: TextFields,
    options: IngestOptions,
) -> Flow[IngestReport]:
    """Add all of ``source``; its value says what became of each document."""
    started = time.monotonic()
    batch_writer = _BatchWriter(writer, options.give_up_after)
    failed: list[Failure] = []
    done = without_text = 0
    for batch in constrained_batches(
        map(_document, source),
        options.batch_chars,
        options.batch_size,
        get_len=lambda document: len(texts.text(document.payload)),
        strict=False,
    ):
        items, unfit, empty = yield from _prepared(writer, batch, embedder, texts)
        try:
            rejected = yield from batch_writer.write(items)
        except IngestError as error:
            stored = done - len(failed)
            raise IngestError(f"{error}; {stored} documents are stored, run again") from error
        failed += [*unfit, *rejected]
        lost = {failure.id for failure in failed}
        without_text += sum(doc_id not in lost for doc_id in empty)
        done += len(batch)
        if options.on_progress is not None:
            options.on_progress(done)
    return IngestReport(
        done - len(failed),
        tuple(failed),
        batch_writer.retries,
        time.monotonic() - started,
        without_text,
    )


def _document(given: Document | Mapping[str, Any]) -> Document:
    return given if isinstance(given, Document) else Document.from_payload(given)


def _prepared(
    writer: Writer[ItemT],
    batch: Sequence[Document],
    embedder: Embedder | None,
    text_fields: TextFields,
) -> Flow[tuple[list[tuple[HitId, ItemT]], list[Failure], list[HitId]]]:
    """What is written of a batch, what cannot be, and which of all have no text."""
    texts = [text_fields.text(document.payload) for document in batch]
    missing = [n for n, document in enumerate(batch) if document.vector is None]
    made: dict[int, Vector] = {}
    if embedder is not None and missing:
        vectors = yield Compute(lambda: embedder.embed_documents([texts[n] for n in missing]))
        made = dict(zip(missing, vectors, strict=True))
    items: list[tuple[HitId, ItemT]] = []
    unfit: list[Failure] = []
    for n, (document, text) in enumerate(zip(batch, texts, strict=True)):
        try:
            item = writer.item(document, text, made.get(n, document.vector))
        except (ValueError, TypeError) as error:
            unfit.append(Failure(document.id, str(error)))
        else:
            items.append((document.id, item))
    empty = [document.id for document, text in zip(batch, texts, strict=True) if not text.strip()]
    return items, unfit, empty


class _BatchWriter(Generic[ItemT]):
    """Writes batches, trying again what can succeed and finding the document that cannot."""

    def __init__(self, writer: Writer[ItemT], give_up_after: float) -> None:
        self._writer = writer
        self._give_up_after = give_up_after
        self.retries = 0

    def write(self, items: list[tuple[HitId, ItemT]]) -> Flow[list[Failure]]:
        """Store ``items``; the failures are those the database rejects for good."""
        if not items:
            return []
        try:
            return (yield from self._persistently(items))
        except Exception as error:
            cause = self._writer.cause(error)
            if cause != "document":
                raise IngestError(self._writer.describe_error(error)) from error
            if len(items) == 1:
                return [Failure(items[0][0], self._writer.describe_error(error))]
        middle = len(items) // 2  # a database that refuses whole batches does not say for whom
        first = yield from self.write(items[:middle])
        second = yield from self.write(items[middle:])
        return first + second

    def _persistently(self, items: list[tuple[HitId, ItemT]]) -> Flow[list[Failure]]:
        pending = list(items)
        failures: list[Failure] = []

        def attempt() -> Flow[None]:
            nonlocal pending
            result = yield from self._writer.write([item for _, item in pending])
            failures.extend(Failure(pending[n][0], why) for n, why in result.rejected.items())
            pending = [pending[n] for n in result.busy]
            if pending:
                raise _Busy(next(iter(result.busy.values())))

        yield from retry(attempt, self._retrying())
        return failures

    def _retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._is_transient),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            stop=tenacity.stop_after_delay(self._give_up_after),
            before_sleep=self._count,
            reraise=True,
        )

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, _Busy) or (
            isinstance(error, Exception) and self._writer.cause(error) == "transient"
        )

    def _count(self, _state: tenacity.RetryCallState) -> None:
        self.retries += 1


class _Busy(Exception):
    """Some items were refused for now."""
