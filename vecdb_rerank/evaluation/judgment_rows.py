"""Read files of relevance judgments row by row: CSV, TSV, TREC, and the JSON of search tools."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from more_itertools import peekable

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import columns
from vecdb_rerank.evaluation.encoding import decoded, without_guard
from vecdb_rerank.records.json_records import problem
from vecdb_rerank.records.model import Record
from vecdb_rerank_opensearch.query_text import query_texts

IDS = ("query_id", "queryid", "qid")
NAMES: columns.Names = {
    "query": (*IDS, "query", "query_text", "topic"),
    "document": (
        "docid",
        "doc_id",
        "document_id",
        "document",
        "doc",
        "docno",
        "corpus_id",
        "_id",
        "id",
        "pid",
    ),
    "grade": ("rating", "grade", "score", "relevance", "label", "judgment", "judgement", "rel"),
}
Rows = Iterator[tuple[str, object, object, object]]
"""Where a judgment is, its query, document and grade."""
Texts = Mapping[str, str]


def read(path: Path) -> tuple[Rows, Texts | None]:
    """Return the judgments and the queries' texts; None if the texts are the queries' names."""
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if ".json" in suffixes:
        value = _in_envelope(_json(path))
        if isinstance(value, dict) and isinstance(value.get("requests"), list):
            return _rank_eval(value, path), _requested(value, path)
        if (ratings := _workbench(value)) is not None:
            return _judgment_ratings(ratings, path), None
        return _records(path)
    if suffixes & {".csv", ".jsonl", ".ndjson", ".parquet"}:
        return _records(path)
    if suffixes & {".tsv", ".tab"}:
        return _tabs(path), {}
    return _trec(path), {}


def _records(path: Path) -> tuple[Rows, Texts | None]:
    records = peekable(columns.records(path))
    names = set(map(columns.plain, records.peek().fields)) if records else set()
    return _of_records(records), {} if names.intersection(IDS) else None


def _of_records(records: Iterable[Record]) -> Rows:
    for record in records:
        where = columns.names_at(record)
        found = columns.find(record.fields, NAMES, where)
        query, document, grade = (
            record.fields[columns.require(found, column, NAMES, record.fields, where)]
            for column in NAMES
        )
        if isinstance(query, str) and isinstance(document, str):
            query, document = without_guard(query), without_guard(document)
        yield record.where, query, document, grade


def _tabs(path: Path) -> Rows:
    order: list[int] | None = None
    for n, (where, line) in enumerate(columns.lines(path)):
        cells = line.split("\t")
        if n == 0 and not any(map(is_number, cells[2:])):
            found = columns.find(cells, NAMES, where)
            order = [
                cells.index(columns.require(found, column, NAMES, cells, where)) for column in NAMES
            ]
            continue
        picked = order or ([0, 2, 3] if len(cells) == 4 else [0, 1, 2])
        if len(cells) <= max(picked) or (order is None and len(cells) not in (3, 4)):
            raise ConfigurationError(
                where,
                "expected a query, a document and a grade, separated by tabs; "
                f"got {len(cells)} values",
            )
        query, document, grade = (cells[place] for place in picked)
        yield where, query, document, grade


def _trec(path: Path) -> Rows:
    for where, line in columns.lines(path):
        cells = line.split()
        if len(cells) != 4:
            raise ConfigurationError(
                where,
                "expected a query, 0, a document and a grade, separated by spaces (TREC); got "
                f"{len(cells)} values; for another format, name the file .csv, .tsv or .jsonl",
            )
        yield where, decoded(cells[0]), decoded(cells[2]), cells[3]


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be opened: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path}:{error.lineno}",
            f"not valid JSON: {error.msg}; name JSON lines .jsonl",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(str(path), problem(error)) from None


def _in_envelope(value: object) -> object:
    """Return a bare list of ratings by query as the request that it was taken from."""
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict) or "ratings" not in first:
        return value
    return {"judgmentRatings" if "query" in first else "requests": value}


def _rank_eval(value: Mapping[str, object], path: Path) -> Rows:
    """Yield the ratings of a request to OpenSearch's ``_rank_eval`` (Ranking evaluation API)."""
    for at, request in _objects(value.get("requests"), f"{path}, requests"):
        for where, rating in _objects(request.get("ratings"), f"{at}.ratings"):
            yield where, request.get("id"), rating.get("_id"), rating.get("rating")


def _requested(value: Mapping[str, object], path: Path) -> dict[str, str]:
    """Return the text that each request of a ``_rank_eval`` searches, if it searches one."""
    texts: dict[str, str] = {}
    for _, request in _objects(value.get("requests"), f"{path}, requests"):
        body = request.get("request")
        found = query_texts(body) if isinstance(body, dict) else ()
        if len(found) == 1:
            texts[str(request.get("id"))] = found[0]
    return texts


def _workbench(value: object) -> object:
    """Return the ``judgmentRatings`` of a request or of the answer to a search; None if none."""
    if not isinstance(value, dict):
        return None
    if "judgmentRatings" in value:
        return value["judgmentRatings"]
    hits = value.get("hits")
    inner = hits.get("hits") if isinstance(hits, dict) else None
    sources = [hit.get("_source") for hit in inner or () if isinstance(hit, dict)]
    if len(sources) == 1 and isinstance(sources[0], dict):
        return sources[0].get("judgmentRatings")
    return None


def _judgment_ratings(ratings: object, path: Path) -> Rows:
    """Yield the ratings of a judgment list (Search Relevance Workbench, "Judgments")."""
    for at, each in _objects(ratings, f"{path}, judgmentRatings"):
        for where, rating in _objects(each.get("ratings"), f"{at}.ratings"):
            yield where, each.get("query"), rating.get("docId"), rating.get("rating")


def _objects(value: object, where: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not isinstance(value, list):
        raise ConfigurationError(where, "must be a list")
    for n, each in enumerate(value):
        if not isinstance(each, dict):
            raise ConfigurationError(f"{where}[{n}]", "must be an object")
        yield f"{where}[{n}]", each


def is_number(text: str) -> bool:
    """Check whether ``text`` is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
