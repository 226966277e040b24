"""Read CSV (RFC 4180) and TSV: the first row names the fields."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from more_itertools import peekable

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.lines import numbered
from vecdb_rerank.records.model import MAX_RECORD, Record, Unreadable, quoted
from vecdb_rerank.text_fields import valid_unicode

_DELIMITERS = ",;\t|"
_TOO_LONG = "\udfff"  # in place of a line; no text in UTF-8 holds it


@dataclass(frozen=True, slots=True)
class _Row:
    """A row: the number of its first line, and what it holds or why it holds nothing."""

    number: int
    values: Sequence[str] = ()
    problem: str | None = None


def table_records(
    stream: io.BufferedReader, name: str, *, tabs: bool
) -> Iterator[Record | Unreadable]:
    """Yield the rows, each with the number of its first line.

    A CSV file may have semicolons, tabs or bars instead of commas; its first line decides. Every
    value is a string. A row that is not as long as the first one is unreadable.

    Raises `ConfigurationError` if the first row does not name the fields.
    """
    lines = peekable(_decoded(stream))
    first: str = lines.peek("")
    delimiter = "\t" if tabs else max(_DELIMITERS, key=lambda each: _count(first, each))
    fields: Sequence[str] = ()
    for row in _rows(lines, delimiter):
        where, values = f"{name}:{row.number}", row.values
        if not fields:
            fields = _fields(where, row)
        elif row.problem is not None:
            yield Unreadable(where, row.problem)
        elif len(values) != len(fields):
            reason = f"has {len(values)} values, and the first row has {len(fields)} names"
            yield Unreadable(where, reason, quoted(delimiter.join(values)))
        else:
            yield Record(where, dict(zip(fields, values, strict=True)))


def _decoded(stream: io.BufferedReader) -> Iterator[str]:
    for number, line in numbered(stream):
        text = _TOO_LONG if line is None else line.decode("utf-8", "surrogateescape")
        yield text.removeprefix("\ufeff") if number == 1 else text


def _count(line: str, delimiter: str) -> int:
    try:
        return sum(map(len, csv.reader([line], delimiter=delimiter)))
    except csv.Error:  # `_rows` says why
        return 0


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[_Row]:
    """Yield the rows that are not blank."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        before = csv.field_size_limit(MAX_RECORD)  # of the whole process, so only for a moment
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _Row(number, problem=f"not valid CSV: {_why(error)}")
        else:
            if values:
                yield _Row(number, values, _problem(values))
        finally:
            csv.field_size_limit(before)


def _why(error: csv.Error) -> str:
    if str(error).startswith("new-line character"):
        return "a carriage return (CR) ends a line; save the file with LF or CRLF as line ends"
    return f"{error}; a quotation mark may be missing, or not doubled"


def _problem(values: Sequence[str]) -> str | None:
    if any(_TOO_LONG in value for value in values):
        return f"holds a line of more than {MAX_RECORD:,} bytes"
    if any(valid_unicode(value) != value for value in values):
        return "not valid UTF-8"
    return None


def _fields(where: str, row: _Row) -> list[str]:
    """Return the names of the fields; a column without one is named by its place."""
    if row.problem is not None:
        raise ConfigurationError(where, f"the first row names the fields, but is {row.problem}")
    names = [name.strip() or f"column_{n}" for n, name in enumerate(row.values, start=1)]
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigurationError(where, f"names the field {name!r} {count} times")
    return names
