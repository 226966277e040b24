"""Find the fields of records under the names that different tools give them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.lines import numbered
from vecdb_rerank.records.model import Record, Unreadable, quoted
from vecdb_rerank.records.opening import opened
from vecdb_rerank.records.reading import read

Names = Mapping[str, Sequence[str]]
"""The names that a column may have, the preferred one first."""
_SPELLING = str.maketrans({"-": "_", " ": "_"})
_SHOWN = 10  # names of fields in a message
_CLOSE = 0.8  # the likeness from which a name is a misspelled one


def records(path: Path) -> Iterator[Record]:
    """Yield the records of a CSV, JSON or Parquet file.

    Raises `ConfigurationError`, its key the file and line, for one that cannot be read.
    """
    for record in read(path):
        if isinstance(record, Unreadable):
            seen = f": {record.excerpt}" if record.excerpt else ""
            raise ConfigurationError(record.where, f"{record.reason}{seen}")
        yield record


def names_at(record: Record) -> str:
    """Return where the names of a record's fields are: in CSV on the first line."""
    file, _, _ = record.where.rpartition(":")
    return f"{file}:1" if ".csv" in file.lower() else record.where


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text file that are not blank, each with the file and its number.

    Raises `ConfigurationError` if one is not valid UTF-8.
    """
    with opened(path, "text") as file:
        for number, line in numbered(file.stream):
            where = f"{path}:{number}"
            if line is None:
                raise ConfigurationError(where, "the line is too long")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise ConfigurationError(where, "not valid UTF-8") from None
            if text.strip():
                yield where, text


def find(fields: Iterable[str], names: Names, where: str) -> dict[str, str]:
    """Return which of ``fields`` each column of ``names`` is, without columns that are missing.

    Case, and whether words are joined by ``-``, ``_`` or a space, are not significant. Raises
    `ConfigurationError` for a field whose name is close to that of a missing column.
    """
    known = {plain(each): each for each in reversed([*fields])}
    found = {
        column: known[each]
        for column, aliases in names.items()
        for each in reversed(aliases)
        if each in known
    }
    missing = [each for column, names_ in names.items() if column not in found for each in names_]
    for name, given in known.items():
        if given not in found.values() and (
            close := difflib.get_close_matches(name, missing, n=1, cutoff=_CLOSE)
        ):
            raise ConfigurationError(where, f"has {given!r}; did you mean {close[0]!r}?")
    return found


def require(
    found: Mapping[str, str], column: str, names: Names, fields: Iterable[str], where: str
) -> str:
    """Return the field that holds ``column``; raise `ConfigurationError` if there is none."""
    if column not in found:
        first, *others = names[column]
        given = ", ".join(quoted(name) for name in islice(fields, _SHOWN))
        raise ConfigurationError(
            where,
            f"has no column for the {column}; name it {first} (or {', '.join(others)}); "
            f"it has {given}",
        )
    return found[column]


def plain(name: str) -> str:
    """Return a column's name in lower case, words joined by ``_``."""
    return name.strip().lower().translate(_SPELLING)
