"""Documents from files: read one at a time, checked before anything is created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from more_itertools import peekable

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.ingest.model import ID_FIELDS, Document
from vecdb_rerank.records.model import Format, Record, Unreadable
from vecdb_rerank.records.opening import opened
from vecdb_rerank.records.position import Position
from vecdb_rerank.records.reading import read
from vecdb_rerank.text_fields import TextFields

_SAMPLE = 50  # documents that are looked at first
_KEPT = 20  # problems of which each is kept; the others are counted


class DocumentFiles:
    """The documents of files and folders, to iterate over once.

    Memory holds a few documents. What is not one is in ``problems``, of which the first ones are
    kept; ``unreadable`` counts them all, and ``count`` the documents so far. ``hashed`` is whether
    an id was made from the content of a document.

    Raises `ConfigurationError` if a file cannot be opened, has an unknown format or is none; if
    there is no document; or if none of the first documents has text. ``id_field`` is the field,
    perhaps a dotted path, that holds the id; without one it is ``_id`` or ``id``, or else a hash of
    the content.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        text_fields: TextFields,
        *,
        format: Format | None = None,
        id_field: str | None = None,
    ) -> None:
        self.problems: list[Unreadable] = []
        self.unreadable = 0
        self.count = 0
        self.hashed = False
        self._format = format
        self._id_field = id_field
        for path in paths:
            if path.is_file():  # not a pipe, which can be read once
                with opened(path, format):
                    pass
        self._position = Position(paths)
        self._records = 0
        self._documents = peekable(self._read(paths))
        # Not as many as could be peeked at: a pipe may be slow.
        self.sample: Sequence[Document] = list(islice(self._documents, _SAMPLE))
        self._documents.prepend(*self.sample)
        self._require_text(paths, text_fields)

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self.count += 1
            yield document

    @property
    def total(self) -> int | None:
        """An estimate of the number of documents, of two digits; None if it is unknown."""
        if (share := self._position.share) is None:
            return None
        count = round(self._records / share)
        return count if share == 1 else round(count, 2 - len(str(count)))

    def id_fields(self) -> list[str]:
        """Return the fields that may hold ids: a number or word, another one in each document."""
        payloads = [document.payload for document in self.sample]
        names = dict.fromkeys(name for payload in payloads for name in payload)
        return [
            str(name) for name in names if _may_be_ids([payload.get(name) for payload in payloads])
        ]

    def _read(self, paths: Sequence[Path]) -> Iterator[Document]:
        for path in paths:
            for record in read(path, self._format, self._position.opened):
                self._records += 1
                if isinstance(record, Record):
                    if self._id_field is None and record.fields.keys().isdisjoint(ID_FIELDS):
                        self.hashed = True
                    try:
                        yield Document.from_payload(record.fields, self._id_field)
                        continue
                    except ConfigurationError as error:
                        record = Unreadable(record.where, str(error))
                self.unreadable += 1
                if len(self.problems) < _KEPT:
                    self.problems.append(record)

    def _require_text(self, paths: Sequence[Path], text_fields: TextFields) -> None:
        name = ", ".join(map(str, paths))
        if not self.sample and self.problems:
            first = self.problems[0]
            raise ConfigurationError(first.where, f"{first.reason}; no document could be read")
        if not self.sample:
            raise ConfigurationError(name, "holds no documents")
        if any(text_fields.text(document.payload) for document in self.sample):
            return
        found = dict.fromkeys(str(key) for document in self.sample for key in document.payload)
        raise ConfigurationError(
            "text_fields.fields",
            f"none of the first {len(self.sample)} documents of {name} has text in "
            f"{', '.join(text_fields.paths)}; name the fields that hold it (--text-fields), among: "
            f"{', '.join(found)}",
        )


def _may_be_ids(values: Sequence[object]) -> bool:
    words = {str(value) for value in values if isinstance(value, int | str)}
    return len(words) == len(values) and all(len(word.split()) == 1 for word in words)
