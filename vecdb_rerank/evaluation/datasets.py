"""Judged test collections in the BEIR layout (Thakur et al., 2021)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vecdb_rerank.errors import ConfigurationError

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Documents, queries by id, and grades by query and document id (0 is not relevant)."""

    name: str
    corpus: tuple[Mapping[str, Any], ...]
    queries: Mapping[str, str]
    qrels: Qrels

    def sample(self, n: int | None, seed: int = 0) -> Dataset:
        """The same with ``n`` of its queries, the same ones for the same ``seed``."""
        if n is None or n >= len(self.queries):
            return self
        if n < 1:
            raise ConfigurationError("queries", f"{n} is below 1")
        chosen = sorted(random.Random(seed).sample(sorted(self.queries), n))
        return replace(self, queries={query_id: self.queries[query_id] for query_id in chosen})


def load(folder: Path) -> Dataset:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` under ``folder``.

    Only queries with a relevant document are kept. Raises `ConfigurationError` that names the
    file and line of what is wrong.
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


def read_jsonl(path: Path, required: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file; an error names the line."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_line(line, f"{path}:{number}", required)


def parse_line(line: bytes, where: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """One JSON object in UTF-8 (a byte order mark is no part of it).

    `ConfigurationError` says ``where`` it is not one.
    """
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigurationError(where, "not valid UTF-8") from None
    except ValueError as error:
        raise ConfigurationError(where, f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(where, "not a JSON object")
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
                    f"{path}:{number}", "not query-id, corpus-id and a whole grade by tabs"
                ) from None
    return grades


def _file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(
        str(folder),
        f"{names[0]} is missing; "
        "a collection is corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)",
    )
