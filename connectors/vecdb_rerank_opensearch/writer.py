"""Write documents through ``_bulk``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.ingest.model import Cause, Document, WriteResult, plain_id
from vecdb_rerank.protocols import Vector
from vecdb_rerank.request import Mode
from vecdb_rerank_opensearch import errors
from vecdb_rerank_opensearch.client import Client
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout

MAX_ID_BYTES = 512


@dataclass(frozen=True, slots=True)
class Action:
    """A document as ``_bulk`` takes it."""

    id: str
    source: Mapping[str, object]


@dataclass(slots=True)
class OpenSearchWriter:
    """Writes through ``_bulk``, which reports on each document.

    ``mode`` decides which fields are written, ``routing`` which shard the documents go to.
    """

    client: Client
    layout: Layout
    describe: Callable[[Exception], str]
    mode: Mode = "hybrid"
    routing: str | None = None
    _found: bool = False

    def item(self, document: Document, text: str, vector: Vector | None) -> Action:
        """Return the document with its vector and the text that BM25 searches.

        Raises ValueError if the mode needs a vector and there is none, or if the index cannot take
        the document.
        """
        made: dict[str, object] = {}
        if self.layout.keeps_text:
            made[BM25_TEXT] = text
        if vector is not None and self.layout.dense_vector is not None:
            made[self.layout.dense_vector] = [float(x) for x in vector]
        elif self.mode != "bm25":
            raise ValueError("it has no vector and no embedder is configured")
        for name in made:
            if name in document.payload:
                raise ValueError(f"its field {name!r} has a name that the index needs itself")
        doc_id = str(plain_id(document.id, "id"))
        if len(doc_id.encode()) > MAX_ID_BYTES:
            raise ValueError(f"its id is longer than {MAX_ID_BYTES} bytes")
        return Action(doc_id, {**document.payload, **made})

    def write(self, items: Sequence[Action]) -> Flow[WriteResult]:
        """Index the documents.

        Raises `SchemaError` if the index is missing: a write would create one without vectors.
        """
        yield from self._require_index()
        lines = list(self._lines(items))
        answer: Mapping[str, Sequence[Mapping[str, Mapping[str, object]]]] = yield Call(
            lambda: self.client.bulk(body=lines, index=self.layout.index)
        )
        result = WriteResult()
        for n, item in enumerate(answer["items"]):
            status, error = item["index"]["status"], item["index"].get("error")
            assert isinstance(status, int)
            if status < 300:
                continue
            why = _why(error)
            if errors.refuses_all(status, why):
                failed = errors.SearchFailed(status, {"reason": why})
                result.fatal = result.fatal or self.describe(failed)
            (result.busy if errors.is_busy(status) else result.rejected)[n] = why
        if result.fatal is not None:
            result.busy, result.rejected = {}, {**result.busy, **result.rejected}
        return result

    def stored(self, items: Sequence[Action]) -> Flow[set[int]]:
        """Return the indices of the documents that the index holds with the same source."""
        wanted = [{"_id": item.id, **self._routing()} for item in items]
        answer: Mapping[str, Sequence[Mapping[str, object]]] = yield Call(
            lambda: self.client.mget(body={"docs": wanted}, index=self.layout.index)
        )
        return {
            n
            for n, (item, found) in enumerate(zip(items, answer["docs"], strict=True))
            if found.get("_source") == item.source
        }

    def _require_index(self) -> Flow[None]:
        index = self.layout.index
        self._found = self._found or (yield Call(lambda: self.client.indices.exists(index=index)))
        if not self._found:
            raise SchemaError(f"there is no index {index!r}: create() makes one that fits")

    def _lines(self, items: Sequence[Action]) -> Iterator[Mapping[str, object]]:
        for item in items:
            yield {"index": {"_id": item.id, **self._routing()}}
            yield item.source

    def _routing(self) -> Mapping[str, str]:
        return {} if self.routing is None else {"routing": self.routing}

    def cause(self, error: Exception) -> Cause:
        """Classify an error of `write`."""
        return errors.cause(error)

    def describe_error(self, error: Exception) -> str:
        """Return one line for an error."""
        return self.describe(error)


def _why(error: object) -> str:
    """Return the server's reason for refusing a document."""
    if not isinstance(error, Mapping):
        return str(error)
    inner = error.get("caused_by") or {}
    return " ".join(f"{error.get('reason', '')} {inner.get('reason', '')}".split())
