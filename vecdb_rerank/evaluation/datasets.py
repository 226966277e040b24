"""Read judged test collections in the BEIR layout (Thakur et al., 2021)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vecdb_rerank._checks import at_least
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.document_ids import OWN, DocumentIds
from vecdb_rerank.records.json_records import parse_object

Qrels = Mapping[str, Mapping[str, int]]
"""Grades by query and document id; 0 and below is not relevant."""


@dataclass(frozen=True, slots=True)
class QueryInfo:
    """What a query has besides its text.

    ``filter`` is in the database's own terms, as JSON. ``query_class`` groups queries in reports.
    """

    filter: object = None
    instruction: str | None = None
    query_class: str | None = None
    notes: str | None = None


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

    @property
    def filters(self) -> dict[str, object]:
        """The filters by query, without queries that have none."""
        return {q: one.filter for q, one in self.info.items() if one.filter is not None}

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


def load(folder: Path) -> Dataset:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` under ``folder``.

    Only queries with a relevant document are kept.

    Raises `ConfigurationError` with the file (and the line) as its key if one is missing or wrong.
    """
    qrels = _qrels(_file(folder, "qrels.tsv", "qrels/test.tsv"))
    queries = {
        str(line["_id"]): str(line["text"])
        for line in read_jsonl(_file(folder, "queries.jsonl"), ("_id", "text"))
        if any(grade > 0 for grade in qrels.get(str(line["_id"]), {}).values())
    }
    if not queries:
        raise ConfigurationError(str(folder), "no query has a relevant document in its qrels")
    corpus = tuple(read_jsonl(_file(folder, "corpus.jsonl"), ("_id",)))
    return Dataset(folder.resolve().name, corpus, queries, qrels)


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


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip() or (number == 1 and line.strip().endswith(b"\tscore")):  # header
                continue
            try:
                query_id, document_id, grade = line.decode().split("\t")
                grades.setdefault(query_id, {})[document_id] = int(grade)
            except ValueError:
                raise ConfigurationError(
                    f"{path}:{number}",
                    "expected query-id, corpus-id and an integer grade, separated by tabs",
                ) from None
    return grades


def _file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(
        str(folder),
        f"{names[0]} is missing; "
        "a collection has corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)",
    )
