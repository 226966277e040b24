"""The folder in the platform's user cache for everything that can be computed or fetched again.

An embedded database and the cache of the Hugging Face hub are elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError

VECTORS, SCORES, CHECKPOINTS = "vectors.sqlite", "scores.sqlite", "checkpoints"
_OWN = (VECTORS, SCORES, CHECKPOINTS)


def cache_path() -> Path:
    """Return where the folder is; it need not exist.

    Raises `MissingDependencyError` without the extra ``cli``.
    """
    path: Path = require("platformdirs", "cli").user_cache_path("vecdb-rerank")
    return path


def cache_folder() -> Path:
    """Return the folder, and create it if it is missing.

    Raises `ConfigurationError` if it cannot be created.
    """
    folder = cache_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            str(folder), f"the cache folder cannot be created: {error.strerror}"
        ) from error
    return folder


def size() -> int:
    """Return the bytes that `clear` would remove."""
    return sum(
        file.lstat().st_size
        for entry in _entries()
        for file in (entry, *entry.rglob("*"))
        if file.is_symlink() or file.is_file()
    )


def clear() -> None:
    """Remove what this package keeps in the folder, and nothing else that is there.

    Raises `ConfigurationError` with the folder as its key if something cannot be removed.
    """
    try:
        for entry in _entries():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise ConfigurationError(
            str(cache_path()), f"{error.filename} cannot be removed: {error.strerror}"
        ) from error


def _entries() -> Iterator[Path]:
    for name in _OWN:  # SQLite adds to the name: scores.sqlite-journal
        yield from sorted(cache_path().glob(f"{name}*"))
