"""How much of some files has been read."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from vecdb_rerank.records.texts import text_files


class Position:
    """The share of the bytes of ``paths``, files and folders of texts, that has been read.

    Give each file to `opened` when it is opened.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._total = _size(paths)
        self._before = 0
        self._current: io.BufferedReader | None = None
        self._current_size = 0

    def opened(self, file: io.BufferedReader) -> None:
        """Read from ``file`` from now on; what was read before is read to its end."""
        self._before += self._current_size
        self._current = file
        self._current_size = os.fstat(file.fileno()).st_size if self._total else 0

    @property
    def share(self) -> float | None:
        """A number above 0 and up to 1; None if it is unknown, as for a pipe."""
        if not self._total or self._current is None:
            return None
        here = self._current_size if self._current.closed else self._current.tell()
        return min(1.0, (self._before + here) / self._total) or None


def _size(paths: Sequence[Path]) -> int | None:
    """Return the bytes of all files; None if one of them is none, as a pipe is not."""
    files = [file for path in paths for file in (text_files(path) if path.is_dir() else [path])]
    try:
        return sum(file.stat().st_size for file in files) if all(map(Path.is_file, files)) else None
    except OSError:
        return None
