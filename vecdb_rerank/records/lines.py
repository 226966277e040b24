"""Split a stream into lines, in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator

from vecdb_rerank.records.model import MAX_RECORD


def numbered(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line with its number, from 1; None for one of more than `MAX_RECORD` bytes."""
    number = 0
    while line := stream.readline(MAX_RECORD):
        number += 1
        if len(line) < MAX_RECORD or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_RECORD)
        yield number, None
