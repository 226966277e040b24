"""Read JSON: one object per line, or an array of objects."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Iterator

from vecdb_rerank.records.lines import numbered
from vecdb_rerank.records.model import MAX_RECORD, Record, Unreadable, quoted

_CHUNK = 1 << 16  # characters
_LONG = f"is longer than {MAX_RECORD:,} bytes"
# Incomplete text is refused near its end, but for a string, at whose beginning it is.
_UNTERMINATED = "Unterminated string"
_NEAR = 12


def parse_object(line: bytes) -> dict[str, object]:
    """Return the JSON object of a line in UTF-8, with or without a byte order mark.

    Raises ValueError, which says why, for anything else.
    """
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(problem(error)) from None
    return as_object(value)


def problem(error: ValueError | RecursionError) -> str:
    """Return why a text is not JSON, from what decoding and `json.loads` raise."""
    if isinstance(error, UnicodeDecodeError):
        return "not valid UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error}"
    return f"holds an integer of more than {sys.get_int_max_str_digits():,} digits"


def as_object(value: object) -> dict[str, object]:
    """Return ``value`` if it is a JSON object; raise ValueError if it is not."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def json_records(stream: io.BufferedReader, name: str) -> Iterator[Record | Unreadable]:
    """Yield the objects of JSON lines, or of one array."""
    head = stream.peek(_CHUNK).removeprefix(codecs.BOM_UTF8).lstrip()
    return (_array if head.startswith(b"[") else _lines)(stream, name)


def _lines(stream: io.BufferedReader, name: str) -> Iterator[Record | Unreadable]:
    for number, line in numbered(stream):
        where = f"{name}:{number}"
        if line is None:
            yield Unreadable(where, _LONG)
        elif line.strip(b"\xef\xbb\xbf \t\r\n"):
            try:
                yield Record(where, parse_object(line))
            except ValueError as error:
                yield Unreadable(where, str(error), quoted(line))


def _array(stream: io.BufferedReader, name: str) -> Iterator[Record | Unreadable]:
    """Yield the elements of an array; nothing can be read after one that is not JSON."""
    text = _Text(stream)
    text.skip("[")
    separator = ""
    try:
        while not text.skip("]"):
            if separator and not text.skip(separator):
                raise ValueError("expected a comma or ] after an element of the array")
            separator = ","
            text.skip_space()
            where = f"{name}:{text.line}"
            value = text.value()
            try:
                yield Record(where, as_object(value))
            except ValueError as error:
                yield Unreadable(where, str(error))
        text.skip_space()
        if text.rest():
            raise ValueError("more text follows the array")
    except UnicodeDecodeError:
        yield Unreadable(f"{name}:{text.line}", "not valid UTF-8; the rest was not read")
    except RecursionError:
        yield Unreadable(f"{name}:{text.line}", "nested too deeply; the rest was not read")
    except ValueError as error:
        excerpt = quoted(text.rest()[:_CHUNK])
        yield Unreadable(f"{name}:{text.line}", f"{error}; the rest was not read", excerpt)


class _Text:
    """JSON text that is read from a stream value by value, with the number of the line."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.line = 1
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer = ""
        self._at = 0
        self._ended = False

    def skip_space(self) -> None:
        """Move past white space."""
        while True:
            start = self._at
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            self.line += self._buffer.count("\n", start, self._at)
            if self._at < len(self._buffer) or not self._more():
                return

    def skip(self, character: str) -> bool:
        """Move past white space and ``character`` if it follows; return whether it does."""
        self.skip_space()
        found = self._buffer.startswith(character, self._at)
        self._at += found
        return found

    def rest(self) -> str:
        """Return what is read and not used."""
        return self._buffer[self._at :]

    def value(self) -> object:
        """Return the value that begins here; raise ValueError if it is not JSON."""
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith(_UNTERMINATED) or (
                    error.pos >= len(self._buffer) - _NEAR
                )
                if not is_cut or not self._more():
                    self.line += self._buffer.count("\n", self._at, error.pos)
                    raise ValueError(f"not valid JSON: {error.msg}") from None
            except ValueError as error:
                raise ValueError(problem(error)) from None
            else:
                self.line += self._buffer.count("\n", self._at, end)
                self._at = end
                return value

    def _more(self) -> bool:
        """Read more text, at least as much as is not used yet; return whether there was any."""
        if self._ended:
            return False
        left = self._buffer[self._at :]
        if len(left) > MAX_RECORD:
            raise ValueError(_LONG)
        chunk = self._stream.read(max(_CHUNK, len(left)))
        self._ended = not chunk
        self._buffer, self._at = left + self._decoder.decode(chunk, final=self._ended), 0
        return bool(chunk)
