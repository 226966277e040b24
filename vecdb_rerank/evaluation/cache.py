"""Vectors and scores kept on disk by content, so that a second evaluation is quick."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores, Span
from vecdb_rerank.protocols import AnyReranker, BaseReranker, Embedder, Vector
from vecdb_rerank.resilience.adapt import adapt


def cache_folder() -> Path:
    """The folder of this package in the user's cache."""
    folder = user_cache_path("vecdb-rerank")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            str(folder), f"no folder for the cache: {error.strerror}"
        ) from error
    return folder


class CachedEmbedder:
    """An embedder that looks documents up before it embeds them; queries are always embedded.

    ``name`` has to name all that a document vector depends on.
    """

    def __init__(self, embedder: Embedder, name: str, file: Path | None = None) -> None:
        self._embedder = embedder
        self._name = name
        self._kept = _Kept(file or cache_folder() / "vectors.sqlite", "vectors", "f")

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        """The vector of a query, never from the cache: its time is part of a search."""
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """The vectors of documents, shape (len(texts), dimension)."""
        keys = [_key(self._name, text) for text in texts]
        known = self._kept.found(keys)
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in known}
        if missing:
            made = self._embedder.embed_documents(list(missing.values()))
            # Rounded as it will be read again, so that both runs search the same vectors.
            known |= self._kept.keep(dict(zip(missing, made, strict=True)))
        return [known[key].tolist() for key in keys]

    def close(self) -> None:
        """Close the file."""
        self._kept.close()


class CachedReranker(BaseReranker):
    """A reranker that looks pairs of query and document up before it scores them.

    ``key`` must name all that a score depends on. ``found`` counts the documents whose score came
    from the file: if it is not 0, a time is not the reranker's. What was truncated and billed is
    only known of documents that were scored anew.
    """

    def __init__(self, reranker: AnyReranker, key: str, file: Path | None = None) -> None:
        self.reranker = adapt(reranker)
        self.found = 0
        self.keeps_deadline = self.reranker.keeps_deadline
        self.local = self.reranker.local
        self.listwise = self.reranker.listwise
        self.bills = self.reranker.bills
        self.calibration = self.reranker.calibration
        self._key = key
        self._kept = _Kept(file or cache_folder() / "scores.sqlite", "scores", "d")

    @property
    def name(self) -> str:
        """The reranker's name."""
        return self.reranker.name

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Return one score a document; what the reranker left out is not kept."""
        keys = [_key(self._key, query, document) for document in documents]
        known: dict[bytes, Sequence[float]] = dict(self._kept.found(keys))
        self.found += sum(key in known for key in keys)
        missing = {k: d for k, d in zip(keys, documents, strict=True) if k not in known}
        made = Scores((), ())
        if missing:
            made = yield from self.reranker.steps(query, [*missing.values()], deadline=deadline)
            pairs = zip(missing, zip(made.raw, made.relevance, strict=True), strict=True)
            known |= self._kept.keep(
                {k: (s, r) for k, (s, r) in pairs if s is not None and r is not None}
            )
        both = [known.get(key) for key in keys]
        return Scores(
            [None if pair is None else pair[0] for pair in both],
            [None if pair is None else pair[1] for pair in both],
            made.truncated,
            made.billed,
        )

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Return what a call is billed for what is not known yet."""
        keys = [_key(self._key, query, document) for document in documents]
        known = self._kept.found(keys)
        missing = [d for k, d in zip(keys, documents, strict=True) if k not in known]
        return self.reranker.predicted_units(query, missing) if missing else 0.0

    def warmup(self) -> object:
        """Load the reranker's model."""
        return self.reranker.warmup()

    def room(self, query: str) -> int | None:
        """Return the tokens of a document that the reranker reads beside ``query``."""
        return self.reranker.room(query)

    def token_offsets(self, text: str) -> Sequence[Span] | None:
        """Return where in ``text`` (characters) each of its tokens is."""
        return self.reranker.token_offsets(text)

    def closing(self) -> Flow[None]:
        """Close the file and the reranker."""
        self._kept.close()
        yield from self.reranker.closing()


def score_key(section: Mapping[str, Any]) -> str:
    """What a reranker's scores depend on: its settings, without what is secret or about time."""
    from vecdb_rerank.secrets import concealed

    about_time = ("timeout", "retries", "hedge", "http2", "verify", "batch_size", "device")
    kept = {k: concealed(k, v) for k, v in section.items() if k not in about_time}
    return json.dumps(kept, sort_keys=True, default=str)


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


class _Kept:
    """Rows of numbers by key in an SQLite file; ``code`` is their type as `array` has it."""

    def __init__(self, file: Path, table: str, code: str) -> None:
        self._database = _opened(file, table)
        self._table = table
        self._code = code

    def found(self, keys: Iterable[bytes]) -> dict[bytes, array[float]]:
        """What the file has of these."""
        rows = ((key, self._find(key)) for key in dict.fromkeys(keys))
        return {key: row for key, row in rows if row is not None}

    def keep(self, rows: Mapping[bytes, Sequence[float]]) -> dict[bytes, array[float]]:
        """Write rows; they come back as they will be read."""
        kept = {key: array(self._code, row) for key, row in rows.items()}
        with self._database:
            self._database.executemany(
                f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?)",
                [(key, row.tobytes()) for key, row in kept.items()],
            )
        return kept

    def close(self) -> None:
        self._database.close()

    def _find(self, key: bytes) -> array[float] | None:
        query = f"SELECT * FROM {self._table} WHERE key = ?"
        row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else array(self._code, row[1])


def _opened(file: Path, table: str) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(file, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigurationError(str(file), f"{error}") from error
    try:
        database.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID"
        )
    except sqlite3.Error as error:
        database.close()
        raise ConfigurationError(str(file), f"{error}; delete it if it is broken") from error
    return database
