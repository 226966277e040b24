"""Read the records of a file, a folder of texts, or standard input."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.json_records import json_records
from vecdb_rerank.records.model import Format, Record, Unreadable
from vecdb_rerank.records.opening import DAMAGED, opened
from vecdb_rerank.records.parquet import parquet_records
from vecdb_rerank.records.tables import table_records
from vecdb_rerank.records.texts import text_files, text_record

_TABLE = "expected names of fields in the first row, and as many values in every other one"
_EXPECTED = {
    "json": "expected an object on each line, or an array of objects; `jq -c` writes such lines",
    "csv": _TABLE,
    "tsv": _TABLE,
}


def read(
    path: Path,
    format: Format | None = None,
    on_open: Callable[[io.BufferedReader], None] = lambda _: None,
) -> Iterator[Record | Unreadable]:
    """Yield the records of ``path``, in bounded memory, and the parts that cannot be read.

    ``path`` is a file, perhaps compressed (gzip, or zstd with the extra ``files``), ``-`` for
    standard input, or a folder of Markdown and text files. Without ``format`` the file's name
    decides, and for JSON and Parquet the content may. ``on_open`` is called with each file, before
    decompression.

    Raises `ConfigurationError` with the file (and line) as its key if it cannot be opened, its
    format is not known, or the first record of JSON, CSV or TSV does not have that format; and
    `MissingDependencyError` if reading it takes the extra ``files``.
    """
    if not path.is_dir():
        yield from _file(path, path.name, format, on_open)
        return
    root = path.resolve()
    for file in text_files(path):
        name = Path(root.name, file.relative_to(path)).as_posix()
        yield from _file(file, name, "text", on_open)


def required(path: Path, *fields: str) -> Iterator[dict[str, object]]:
    """Yield the fields of each record; all must have ``fields``.

    Raises `ConfigurationError`, its key the file and line, for a record that cannot be read or
    lacks one of them.
    """
    for record in read(path):
        if isinstance(record, Unreadable):
            raise ConfigurationError(record.where, record.reason)
        for name in fields:
            if name not in record.fields:
                raise ConfigurationError(record.where, f"has no {name!r}")
        yield record.fields


def _file(
    path: Path,
    doc_id: str,
    format: Format | None,
    on_open: Callable[[io.BufferedReader], None],
) -> Iterator[Record | Unreadable]:
    with opened(path, format) as file:
        on_open(file.raw)
        where = file.name
        try:
            records = _records(path, doc_id, file.stream, file.name, file.format)
            for n, record in enumerate(records):
                if n == 0 and isinstance(record, Unreadable):
                    _refuse(record, file.format)
                where = record.where
                yield record
        except DAMAGED as error:
            yield Unreadable(where, f"what follows cannot be read: {error}")


def _records(
    path: Path, doc_id: str, stream: io.BufferedReader, name: str, format: Format
) -> Iterator[Record | Unreadable]:
    if format == "json":
        return json_records(stream, name)
    if format == "text":
        return text_record(stream, name, doc_id)
    if format == "parquet":
        return parquet_records(path, name)
    return table_records(stream, name, tabs=format == "tsv")


def _refuse(first: Unreadable, format: Format) -> None:
    """Raise `ConfigurationError` if a file begins with what its format does not allow."""
    if format in _EXPECTED:
        begins = f" ({first.excerpt})" if first.excerpt else ""
        raise ConfigurationError(first.where, f"{first.reason}{begins}; {_EXPECTED[format]}")
