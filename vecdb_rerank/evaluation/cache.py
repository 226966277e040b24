"""Document vectors kept on disk by content, so that a second evaluation need not embed again."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Embedder, Vector


def cache_folder() -> Path:
    """The folder of this package in the user's cache."""
    folder = user_cache_path("vecdb-rerank")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder}: no folder for the cache: {error.strerror}") from error
    return folder


class CachedEmbedder:
    """An embedder that looks documents up before it embeds them; queries are always embedded.

    ``name`` has to name all that a document vector depends on.
    """

    def __init__(self, embedder: Embedder, name: str, file: Path | None = None) -> None:
        self._embedder = embedder
        self._name = name
        self._database = _opened(file or cache_folder() / "vectors.sqlite")

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        """The vector of a query, never from the cache: its time is part of a search."""
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """The vectors of documents, shape (len(texts), dimension)."""
        keys = [self._key(text) for text in texts]
        known = {key: vector for key in keys if (vector := self._find(key)) is not None}
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in known}
        if missing:
            made = self._embedder.embed_documents(list(missing.values()))
            # Rounded as it will be read again, so that both runs search the same vectors.
            known |= {k: array("f", v) for k, v in zip(missing, made, strict=True)}
            self._keep({key: known[key] for key in missing})
        return [known[key].tolist() for key in keys]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _key(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self._name}\0{text}".encode(), digest_size=16).digest()

    def _find(self, key: bytes) -> array[float] | None:
        row = self._database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else array("f", row[0])

    def _keep(self, vectors: dict[bytes, array[float]]) -> None:
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(key, vector.tobytes()) for key, vector in vectors.items()],
            )


def _opened(file: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(file, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{file}: {error}") from error
    try:
        database.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
        )
    except sqlite3.Error as error:
        database.close()
        raise ConfigurationError(f"{file}: {error}; delete it if it is broken") from error
    return database
