"""Keep vectors and scores on disk, so that a second evaluation does not compute them again."""

from __future__ import annotations

import copy
import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, SecretStr

from vecdb_rerank.cache_folder import SCORES, VECTORS, cache_folder
from vecdb_rerank.embedders.flows import closing
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores, Span
from vecdb_rerank.protocols import AnyReranker, BaseReranker, Embedder, Vector
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.checks import scores_of

# Settings that do not change a score.
_NO_INFLUENCE = (
    "timeout",
    "retries",
    "hedge",
    "http2",
    "verify",
    "batch_size",
    "batch_tokens",
    "max_response_bytes",
    "device",
)


class CachedEmbedder:
    """An embedder that embeds each document once; queries are always embedded.

    ``name`` must name everything that a document's vector depends on.

    Raises `ConfigurationError` with the file as its key if the file cannot be opened.
    """

    def __init__(self, embedder: Embedder, name: str, file: Path | None = None) -> None:
        self._embedder = embedder
        self._name = name
        self._table = _Table(file or cache_folder() / VECTORS, "vectors", "f")

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, never from the cache: its time is part of a search."""
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of documents, shape (len(texts), dimension)."""
        keys = [_key(self._name, text) for text in texts]
        known = self._table.find(keys)
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in known}
        if missing:
            vectors = self._embedder.embed_documents(list(missing.values()))
            # As rounded as they will be read: both evaluations must search the same vectors.
            known |= self._table.write(dict(zip(missing, vectors, strict=True)))
        return [known[key].tolist() for key in keys]

    def closing(self) -> Flow[None]:
        """Close the connections of the embedder."""
        yield from closing(self._embedder)

    def close(self) -> None:
        """Close the file."""
        self._table.close()


class CachedReranker(BaseReranker):
    """A reranker that scores each pair of query and document once.

    ``key`` must name everything that a score depends on. ``found`` counts the documents whose score
    came from the file: unless it is 0, latencies are not the reranker's. Truncated documents and
    billed units are known only for documents that were scored now.

    Raises `ConfigurationError` with the file as its key if the file cannot be opened.
    """

    def __init__(self, reranker: AnyReranker, key: str, file: Path | None = None) -> None:
        self.reranker = adapt(reranker)
        self._found = [0]  # shared with those that follow an instruction
        self.takes_instruction = self.reranker.takes_instruction
        self.keeps_deadline = self.reranker.keeps_deadline
        self.local = self.reranker.local
        self.listwise = self.reranker.listwise
        self.by_rank = self.reranker.by_rank
        self.bills = self.reranker.bills
        self.calibration = self.reranker.calibration
        self.batch = self.reranker.batch
        self._key = key
        self._table = _Table(file or cache_folder() / SCORES, "scores", "d")

    @property
    def name(self) -> str:
        """The reranker's name."""
        return self.reranker.name

    @property
    def found(self) -> int:
        """The documents whose score came from the file."""
        return self._found[0]

    def with_instruction(self, instruction: str) -> CachedReranker:
        """Return a reranker that follows ``instruction``; its scores have keys of their own."""
        other = copy.copy(self)
        other.reranker = self.reranker.with_instruction(instruction)
        other._key = json.dumps([self._key, instruction])
        return other

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Return one score per document, in the same order."""
        keys = [_key(self._key, query, document) for document in documents]
        known: dict[bytes, Sequence[float]] = dict(self._table.find(keys))
        self._found[0] += sum(key in known for key in keys)
        missing = {k: d for k, d in zip(keys, documents, strict=True) if k not in known}
        scored = Scores((), ())
        if missing:
            texts = [*missing.values()]
            answer: object = yield from self.reranker.steps(query, texts, deadline=deadline)
            scored = scores_of(answer, len(texts), self.name)
            pairs = zip(missing, zip(scored.raw, scored.relevance, strict=True), strict=True)
            # A document without a score is not kept: it may get one the next time.
            known |= self._table.write(
                {k: (s, r) for k, (s, r) in pairs if s is not None and r is not None}
            )
        rows = [known.get(key) for key in keys]
        return Scores(
            [None if row is None else row[0] for row in rows],
            [None if row is None else row[1] for row in rows],
            scored.truncated,
            scored.billed,
        )

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Return the units billed for the documents that are not in the file."""
        keys = [_key(self._key, query, document) for document in documents]
        known = self._table.find(keys)
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
        self._table.close()
        yield from self.reranker.closing()


def score_key(section: BaseModel) -> str:
    """Return the settings that a reranker's scores depend on, without secrets, as JSON.

    Of headers and URL parameters, which may name a version of the model, it has a digest.
    """
    from vecdb_rerank.secrets import concealed

    kept = {k: concealed(k, v) for k, v in section.model_dump().items() if k not in _NO_INFLUENCE}
    sent = {k: _digest(getattr(section, k, None)) for k in ("headers", "query_params")}
    return json.dumps({**kept, **sent}, sort_keys=True, default=str)


def _digest(sent: object) -> str:
    """Return a digest of names and texts, but for keys of services; "" if there are none."""
    from vecdb_rerank.secrets import is_secret

    if not isinstance(sent, Mapping) or not sent:
        return ""
    texts = {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in sent.items()}
    return _key(*(f"{name}={texts[name]}" for name in sorted(texts) if not is_secret(name))).hex()


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


class _Table:
    """Rows of numbers by key in an SQLite file; ``code`` is the numbers' type code in `array`."""

    def __init__(self, file: Path, table: str, code: str) -> None:
        self._database = _open(file, table)
        self._table = table
        self._code = code

    def find(self, keys: Iterable[bytes]) -> dict[bytes, array[float]]:
        """Return the rows of those keys that the file has."""
        rows = ((key, self._row(key)) for key in dict.fromkeys(keys))
        return {key: row for key, row in rows if row is not None}

    def write(self, rows: Mapping[bytes, Sequence[float]]) -> dict[bytes, array[float]]:
        """Write rows; return them as `find` will."""
        arrays = {key: array(self._code, row) for key, row in rows.items()}
        with self._database:
            self._database.executemany(
                f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?)",
                [(key, row.tobytes()) for key, row in arrays.items()],
            )
        return arrays

    def close(self) -> None:
        self._database.close()

    def _row(self, key: bytes) -> array[float] | None:
        query = f"SELECT * FROM {self._table} WHERE key = ?"
        row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else array(self._code, row[1])


def _open(file: Path, table: str) -> sqlite3.Connection:
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
        raise ConfigurationError(str(file), f"{error}; delete the file if it is broken") from error
    return database
