"""Write documents through ``_bulk``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.ingest.model import Cause, Document, WriteResult
from vecdb_rerank.protocols import Vector
from vecdb_rerank_opensearch import errors
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout

MAX_ID_BYTES = 512


@dataclass(frozen=True, slots=True)
class Action:
    """A document as ``_bulk`` takes it."""

    id: str
    source: Mapping[str, Any]


@dataclass(slots=True)
class OpenSearchWriter:
    """Writes through ``_bulk``, which answers for each document."""

    client: Any
    layout: Layout
    where: str
    found: bool = False

    def item(self, document: Document, text: str, vector: Vector | None) -> Action:
        """The document with its vector and the text that BM25 searches."""
        if vector is None:
            raise ValueError("it has no vector and no embedder is configured")
        for name in (self.layout.dense_vector, BM25_TEXT):
            if name in document.payload:
                raise ValueError(f"its field {name!r} has a name that the index needs itself")
        doc_id = str(document.id)
        if len(doc_id.encode()) > MAX_ID_BYTES:
            raise ValueError(f"its id is longer than {MAX_ID_BYTES} bytes")
        source = {
            **document.payload,
            BM25_TEXT: text,
            self.layout.dense_vector: list(vector),
        }
        return Action(doc_id, source)

    def write(self, items: Sequence[Action]) -> Flow[WriteResult]:
        """Index the documents; each is answered for."""
        yield from self._require_index()
        lines = list(_bulk_lines(items))
        answer = yield Call(lambda: self.client.bulk(body=lines, index=self.layout.index))
        result = WriteResult()
        for n, item in enumerate(answer["items"]):
            outcome = item["index"]
            if outcome["status"] < 300:
                continue
            kind = result.busy if errors.is_busy(outcome["status"]) else result.rejected
            kind[n] = _why(outcome["error"])
        return result

    def _require_index(self) -> Flow[None]:
        """A write to a missing index would make one without vectors or BM25's analyzer."""
        index = self.layout.index
        self.found = self.found or (yield Call(lambda: self.client.indices.exists(index=index)))
        if not self.found:
            raise SchemaError(f"there is no index {index!r}: create() makes one that fits")

    def cause(self, error: Exception) -> Cause:
        """Whose fault an error is."""
        return errors.cause(error)

    def describe_error(self, error: Exception) -> str:
        """One line for an error."""
        return errors.describe(error, self.where)


def _bulk_lines(items: Sequence[Action]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        yield {"index": {"_id": item.id}}
        yield item.source


def _why(error: Mapping[str, Any]) -> str:
    inner = error.get("caused_by") or {}
    return " ".join(f"{error.get('reason', '')} {inner.get('reason', '')}".split())
