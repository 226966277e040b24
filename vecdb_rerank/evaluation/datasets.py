"""Judged queries: of a folder in the BEIR layout (Thakur et al., 2021), or of a collection."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vecdb_rerank._checks import at_least
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import judgments
from vecdb_rerank.evaluation.document_ids import OWN, DocumentIds
from vecdb_rerank.evaluation.judgments import Judgments, Qrels
from vecdb_rerank.evaluation.queries import PLAIN, Query, QueryInfo
from vecdb_rerank.evaluation.queries import read as read_queries
from vecdb_rerank.records.json_records import parse_object
from vecdb_rerank.request import SearchDefaults

__all__ = ["Dataset", "Qrels", "QueryInfo", "live", "load", "parse_line", "read_jsonl"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A test collection: documents, the texts of queries by id, and relevance judgments.

    ``live`` means that the documents are those of the configured collection, which is searched as
    it is; ``corpus`` is then empty. ``info`` has the queries that have more than a text. ``ids``
    finds the ids of ``qrels`` in hits. ``judged_at`` is where a judged document is named first
    (file and line). ``notes`` are sentences about what the files lack.
    """

    name: str
    corpus: tuple[Mapping[str, object], ...]
    queries: Mapping[str, str]
    qrels: Qrels
    info: Mapping[str, QueryInfo] = field(default_factory=dict)
    ids: DocumentIds = OWN
    live: bool = False
    judged_at: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def instruction(self, query_id: str, defaults: SearchDefaults) -> str | None:
        """Return the instruction of a query, else that of ``defaults``."""
        own = self.info.get(query_id, PLAIN).instruction
        return defaults.instruction if own is None else own

    @property
    def classes(self) -> dict[str, str]:
        """The classes by query, without queries that have none."""
        found = {q: self.info[q].query_class for q in self.queries if q in self.info}
        return {q: name for q, name in found.items() if name is not None}

    def sample(self, n: int | None, seed: int = 0) -> Dataset:
        """Return the collection with ``n`` of its queries, chosen at random by ``seed``."""
        if n is None or n >= len(self.queries):
            return self
        at_least("queries", n, 1)
        chosen = sorted(random.Random(seed).sample(sorted(self.queries), n))
        return replace(self, queries={query_id: self.queries[query_id] for query_id in chosen})


def load(
    folder: Path,
    *,
    queries: Path | None = None,
    qrels: Path | None = None,
    ids: DocumentIds = OWN,
) -> Dataset:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` under ``folder``.

    The files ``queries`` and ``qrels`` replace those of the folder. Only queries with a relevant
    document are kept.

    Raises `ConfigurationError` with the file (and the line) as its key if one is missing or wrong.
    """
    judged = judgments.read(qrels or _qrels(folder))
    found = read_queries(queries or _file(folder, "queries.jsonl"))
    matched = judgments.match(judged, found)
    kept = [query for query in found if _is_judged(query, matched.qrels)]
    if not kept:
        raise ConfigurationError(str(folder), "no query has a relevant document in its qrels")
    corpus = tuple(read_jsonl(file := _file(folder, "corpus.jsonl"), ("_id",)))
    if not corpus:
        raise ConfigurationError(str(file), "holds no documents")
    name = folder.resolve().name
    return Dataset(name, corpus, _texts(kept), matched.qrels, _infos(kept), ids, notes=judged.notes)


def live(
    name: str,
    *,
    folder: Path | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
    ids: DocumentIds = OWN,
) -> Dataset:
    """Read queries and judgments for a collection that exists, and is called ``name``.

    The files ``queries`` and ``qrels`` replace those of ``folder``, which needs no corpus. Without
    queries, those are searched whose texts are in the file with the judgments. Queries without a
    relevant document are left out, and counted in the notes.

    Raises `ConfigurationError` with the file (and the line) as its key if one is missing or wrong.
    """
    if qrels is None and folder is None:
        raise ConfigurationError("--qrels", "is missing: name the file with the judgments")
    judged = judgments.read(qrels or _qrels(folder or Path()))
    if queries is None and folder is not None:
        queries = _file(folder, "queries.jsonl")
    found = _named(judged) if queries is None else read_queries(queries)
    matched = judgments.match(judged, found)
    kept = [query for query in found if _is_judged(query, matched.qrels)]
    notes = [
        *judged.notes,
        *matched.notes,
        *_left_out([q for q in found if q.id not in matched.qrels], found, "have no judgment"),
        *_left_out(
            [q for q in found if q.id in matched.qrels and not _is_judged(q, matched.qrels)],
            found,
            "are judged, but have no relevant document (a grade above 0)",
        ),
    ]
    if not kept:
        raise ConfigurationError(
            str(qrels or folder), " ".join(("no query has a relevant document.", *notes))
        )
    return Dataset(
        name,
        (),
        _texts(kept),
        matched.qrels,
        _infos(kept),
        ids,
        live=True,
        judged_at=matched.judged_at,
        notes=tuple(notes),
    )


def unjudged(name: str, queries: Path, ids: DocumentIds = OWN) -> Dataset:
    """Read queries for a collection that exists, and is called ``name``, without judgments.

    Raises `ConfigurationError` with the file (and the line) as its key if it is missing or wrong.
    """
    found = read_queries(queries)
    return Dataset(name, (), _texts(found), {}, _infos(found), ids, live=True)


def _named(judged: Judgments) -> list[Query]:
    """Return the queries whose texts are in the file with the judgments."""
    first = {item.query: item.where for item in reversed(judged.items)}
    for query, where in first.items():
        if query not in judged.texts:
            raise ConfigurationError(
                "--queries-file", f"is missing: {where} has no text for query {query!r}"
            )
    named = dict.fromkeys(item.query for item in judged.items)
    return [Query(first[query], query, judged.texts[query]) for query in named]


def _is_judged(query: Query, qrels: Qrels) -> bool:
    return any(grade > 0 for grade in qrels.get(query.id, {}).values())


def _left_out(some: Sequence[Query], of: Sequence[Query], why: str) -> list[str]:
    if not some:
        return []
    return [f"{len(some):,} of {len(of):,} queries {why}, such as {some[0].id!r}: left out."]


def _texts(queries: Sequence[Query]) -> dict[str, str]:
    return {query.id: query.text for query in queries}


def _infos(queries: Sequence[Query]) -> dict[str, QueryInfo]:
    return {query.id: query.info for query in queries if query.info != PLAIN}


def read_jsonl(path: Path, required: tuple[str, ...] = ()) -> Iterator[dict[str, object]]:
    """Yield the objects of a JSON lines file; skip empty lines."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_line(line, f"{path}:{number}", required)


def parse_line(line: bytes, where: str, required: tuple[str, ...] = ()) -> dict[str, object]:
    """Return the JSON object of a line in UTF-8, with or without a byte order mark.

    Raises `ConfigurationError` with the key ``where`` if the line holds anything else, or lacks one
    of the ``required`` keys.
    """
    try:
        value = parse_object(line)
    except ValueError as error:
        raise ConfigurationError(where, str(error)) from None
    for name in required:
        if name not in value:
            raise ConfigurationError(where, f"has no {name!r}")
    return value


def _qrels(folder: Path) -> Path:
    return _file(folder, "qrels.tsv", "qrels/test.tsv")


def _file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(
        str(folder),
        f"{names[0]} is missing; "
        "a collection has corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)",
    )
