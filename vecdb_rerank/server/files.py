"""Files that are read again when they change."""

from __future__ import annotations

from pathlib import Path

State = tuple[int, int, int]


def state(file: Path | None) -> State | None:
    """Return what changes when a file is written or replaced; None if it cannot be read."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
