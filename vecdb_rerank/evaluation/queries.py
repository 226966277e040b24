"""Read queries from JSON lines, CSV, TSV, or TREC topics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import columns
from vecdb_rerank.records.json_records import problem

NAMES: columns.Names = {
    "id": ("_id", "id", "query_id", "queryid", "qid"),
    "text": ("text", "query", "query_text", "querytext"),
    "filter": ("filter",),
    "instruction": ("instruction",),
    "class": ("class", "query_class"),
    "notes": ("notes",),
}
_TOPIC = re.compile(r"<top>(.*?)</top>", re.DOTALL)
_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)")
_TITLE = re.compile(r"<title>\s*(?:Topic:)?\s*([^<]+)")


@dataclass(frozen=True, slots=True)
class QueryInfo:
    """What a query has besides its text.

    ``filter`` is in the database's own terms, as JSON. ``query_class`` groups queries in reports.
    """

    filter: object = None
    instruction: str | None = None
    query_class: str | None = None
    notes: str | None = None


PLAIN = QueryInfo()


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and where it is (file and line); a query without an id has its text as one."""

    where: str
    id: str
    text: str
    info: QueryInfo = PLAIN


def read(path: Path) -> list[Query]:
    """Return the queries of a file; its suffix decides the format.

    ``.tsv`` and ``.txt`` files have an id and a text on each line, or only a text; a first line
    with the names of the columns is optional. TREC topics may have any other suffix.

    Raises `ConfigurationError`, its key the file and line, if one has no text or an id comes twice.
    """
    seen: dict[str, str] = {}
    found: list[Query] = []
    for query in _queries(path):
        if query.id in seen:
            raise ConfigurationError(
                query.where, f"the query {query.id!r} is on {seen[query.id]} already"
            )
        if not query.text:
            raise ConfigurationError(query.where, f"the query {query.id!r} has no text")
        seen[query.id] = query.where
        found.append(query)
    if not found:
        raise ConfigurationError(
            str(path), "holds no queries; the first line of a CSV file names its columns"
        )
    return found


def _queries(path: Path) -> Iterator[Query]:
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if suffixes & {".csv", ".jsonl", ".ndjson", ".json", ".parquet"}:
        return _records(path)
    if suffixes & {".tsv", ".tab", ".txt"}:
        return _lines(path)
    return _topics(path)


def _records(path: Path) -> Iterator[Query]:
    for record in columns.records(path):
        where = columns.names_at(record)
        found = columns.find(record.fields, NAMES, where)
        columns.require(found, "text", NAMES, record.fields, where)
        yield _query({column: record.fields[name] for column, name in found.items()}, record.where)


def _lines(path: Path) -> Iterator[Query]:
    header: list[str] | None = None
    for n, (where, line) in enumerate(columns.lines(path)):
        cells = line.split("\t")
        if n == 0 and columns.plain(cells[0]) in (*NAMES["id"], *NAMES["text"]):
            found = columns.find(cells, NAMES, where)
            columns.require(found, "text", NAMES, cells, where)
            names = {name: column for column, name in found.items()}
            header = [names.get(cell, "") for cell in cells]
            continue
        if header is not None and len(cells) == len(header):
            yield _query(dict(zip(header, cells, strict=True)), where)
        elif header is None and len(cells) <= 2:
            yield Query(where, cells[0].strip(), cells[-1].strip())
        else:
            wanted = "an id and a text" if header is None else f"{len(header)} values"
            raise ConfigurationError(
                where, f"expected {wanted}, separated by tabs; got {len(cells)} values"
            )


def _topics(path: Path) -> Iterator[Query]:
    text = "\n".join(line for _, line in columns.lines(path))
    topics = _TOPIC.findall(text)
    if not topics:
        raise ConfigurationError(
            str(path), "holds no TREC topics; for another format, name it .jsonl, .csv or .tsv"
        )
    for n, topic in enumerate(topics, start=1):
        where = f"{path}, topic {n}"
        number, title = _NUMBER.search(topic), _TITLE.search(topic)
        if number is None or title is None:
            raise ConfigurationError(where, "has no <num> or no <title>")
        yield Query(where, number[1], title[1].strip())


def _query(values: Mapping[str, object], where: str) -> Query:
    text = values["text"]
    if not isinstance(text, str):
        raise ConfigurationError(where, f"the text must be a string, got {text!r}")
    given = values.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int | None):
        raise ConfigurationError(where, f"the id must be a string or an integer, got {given!r}")
    query_id = "" if given is None else str(given).strip()
    info = QueryInfo(
        _filter(values.get("filter"), where),
        *(_text(values, name, where) for name in ("instruction", "class", "notes")),
    )
    return Query(where, query_id or text.strip(), text.strip(), info)


def _filter(value: object, where: str) -> object:
    """Return a filter; in CSV and TSV, it is JSON in a cell."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(where, f"the filter is {problem(error)}") from None


def _text(values: Mapping[str, object], name: str, where: str) -> str | None:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise ConfigurationError(where, f"{name} must be a string, got {value!r}")
    return None if value is None else str(value).strip() or None
