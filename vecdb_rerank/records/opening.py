"""Open a file or standard input, compressed or not, and find its format."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from vecdb_rerank._checks import one_of
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.model import STDIN, Format, quoted

SUFFIXES: dict[str, Format] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".md": "text",
    ".markdown": "text",
    ".txt": "text",
    ".text": "text",
    ".parquet": "parquet",
}
_SUFFIX_LIST = ", ".join(SUFFIXES)
_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd")
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_HEAD = 1 << 16  # bytes
DAMAGED = (OSError, EOFError, zlib.error)
"""What reading a damaged file raises."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file: its name in messages, its bytes after decompression, and their format.

    ``raw`` is the file before decompression; its position says how much of it has been read.
    """

    name: str
    raw: io.BufferedReader
    stream: io.BufferedReader
    format: Format


def name_of(path: Path) -> str:
    """Return the name of a file in messages."""
    return "<stdin>" if str(path) == STDIN else str(path)


@contextmanager
def opened(path: Path, format: Format | None = None) -> Iterator[Opened]:
    """Open ``path``, where ``-`` is standard input; find the format from its name and content.

    Raises `ConfigurationError` with the file as its key if it cannot be opened or its format is not
    known, and `MissingDependencyError` if reading it takes the extra ``files``.
    """
    name = name_of(path)
    if format is not None:
        one_of("format", format, get_args(Format))
    try:
        raw = _stdin() if str(path) == STDIN else path.open("rb")
    except (OSError, ValueError) as error:  # a name may hold a NUL
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(name, f"cannot be opened: {why}") from None
    with nullcontext() if str(path) == STDIN else raw:
        try:
            stream = _decompressed(raw)
            head = stream.peek(_HEAD)[:_HEAD]
        except DAMAGED as error:
            raise ConfigurationError(name, f"cannot be read: {error}") from None
        yield Opened(name, raw, stream, format or _format(name, path, head))


def _stdin() -> io.BufferedReader:
    if sys.stdin is None:
        raise ValueError("it is closed")
    buffer = sys.stdin.buffer
    if isinstance(buffer, io.BufferedReader):
        return buffer
    return io.BufferedReader(cast("io.RawIOBase", buffer))


def _decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    head = stream.peek(4)[:4]
    if head.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=stream))
    if head == _ZSTD:
        # Unlike the library zstandard, it notices that a stream was cut off.
        pyarrow = require("pyarrow", "files")
        return io.BufferedReader(pyarrow.CompressedInputStream(stream, "zstd"))
    return stream


def _format(name: str, path: Path, head: bytes) -> Format:
    """Return the format; the name decides, and for JSON and Parquet the content may."""
    if head.startswith(_PARQUET):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    known = SUFFIXES.get(_suffix(path))
    if known is None and text.startswith((b"{", b"[")):
        known = "json"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(
            name, f"is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8 {path.name}"
        )
    if known == "parquet" or (known is None and not text):
        raise ConfigurationError(name, "is empty" if not text else "is not a Parquet file")
    if b"\0" in head[:1024]:
        raise ConfigurationError(
            name,
            f"is a binary file (it begins with {quoted(head)}); convert it to one of "
            f"{_SUFFIX_LIST}",
        )
    if known is None:
        raise ConfigurationError(
            name,
            f"has no known format (it begins with {quoted(head)}); "
            f"rename it to end in one of {_SUFFIX_LIST}, or name its format: "
            f"{', '.join(get_args(Format))}",
        )
    return known


def _suffix(path: Path) -> str:
    """Return the suffix of the file before its compression."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in _COMPRESSED else suffix


def is_text(path: Path) -> bool:
    """Check whether a file's name is that of Markdown or text."""
    return SUFFIXES.get(_suffix(path)) == "text"
