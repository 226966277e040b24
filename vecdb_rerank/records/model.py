"""What reading a file yields: records, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["json", "csv", "tsv", "text", "parquet"]
"""``json``: one object per line, or an array of objects. ``text``: the whole file is a record."""

STDIN = "-"
MAX_RECORD = 64_000_000  # bytes or characters: memory is bounded by it
_QUOTED = 80  # characters of a line in a message


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of one record, and where it begins (``file.csv:17``)."""

    where: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a file that could not be read: where it begins, why, and its own beginning."""

    where: str
    reason: str
    excerpt: str = ""


def quoted(text: str | bytes) -> str:
    """Return the first line of ``text`` that is not blank, quoted and cut, safe to show."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    line = text.strip().partition("\n")[0].strip()
    return repr(line if len(line) <= _QUOTED else f"{line[: _QUOTED - 1]}…")
