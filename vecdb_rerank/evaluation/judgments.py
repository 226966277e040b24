"""Read relevance judgments in the formats of search tools, and match them with queries."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from more_itertools import peekable

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import columns
from vecdb_rerank.evaluation.encoding import decoded, without_guard
from vecdb_rerank.evaluation.queries import Query
from vecdb_rerank.records.model import Record
from vecdb_rerank_opensearch.query_text import query_texts

Qrels = Mapping[str, Mapping[str, int]]
"""Grades by query and document id; 0 and below is not relevant."""
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
_DECIMALS = 3  # of a grade; more are rounded


@dataclass(frozen=True, slots=True)
class Judgment:
    """The grade of one document for one query, and where it is (file and line).

    ``query`` is the query's id or its text, as the file has it.
    """

    where: str
    query: str
    document: str
    grade: float


@dataclass(frozen=True, slots=True)
class Judgments:
    """The judgments of a file, each pair of query and document once.

    ``notes`` are sentences about what was left out or changed. ``texts`` are those of the queries,
    by the names that the judgments have for them, if the file holds them.
    """

    items: tuple[Judgment, ...]
    notes: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matched:
    """Judgments of known queries: grades, where each document is judged first, and notes."""

    qrels: dict[str, dict[str, int]]
    judged_at: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(path: Path) -> Judgments:
    """Return the judgments of a file; its suffix decides the format.

    ``.csv`` is Quepid's (``query,docid,rating``) or has other columns of `NAMES`, as ``.jsonl`` has
    keys. ``.tsv`` has query, document and grade, with or without names of columns. ``.json`` is a
    ``_rank_eval`` request or a judgment list of Search Relevance Workbench. Any other suffix is
    TREC: query, a number without meaning, document and grade.

    Raises `ConfigurationError`, its key the file and line, for a grade that is not a number, and
    for a document that has two grades for one query.
    """
    rows, texts = _rows(path)
    kept: dict[tuple[str, str], Judgment] = {}
    unrated: list[str] = []
    repeated: list[str] = []
    for where, query, document, given in rows:
        if given is None or (isinstance(given, str) and not given.strip()):
            unrated.append(where)
            continue
        judgment = Judgment(where, _id(query, where), _id(document, where), _grade(given, where))
        first = kept.setdefault((judgment.query, judgment.document), judgment)
        if first.grade != judgment.grade:
            raise ConfigurationError(
                where,
                f"document {judgment.document!r} has grade {judgment.grade:g} for query "
                f"{judgment.query!r}, and {first.grade:g} on {first.where}",
            )
        if first is not judgment:
            repeated.append(where)
    if not kept:
        raise ConfigurationError(str(path), "holds no judgments")
    notes = [_left_out(unrated, "without a grade"), _left_out(repeated, "repeated")]
    items, scaled = _whole(list(kept.values()))
    if texts is None:
        texts = {each.query: each.query for each in items}
    return Judgments(tuple(items), tuple(filter(None, (*notes, scaled))), texts)


def with_ids(judgments: Judgments, queries: Sequence[Query]) -> Judgments:
    """Return the judgments with the ids of ``queries`` in place of their texts."""
    names = {_spaces(query.text): query.id for query in queries}
    names |= {query.id: query.id for query in queries}
    items = (
        replace(each, query=names.get(each.query) or names.get(_spaces(each.query), each.query))
        for each in judgments.items
    )
    return replace(judgments, items=tuple(items))


def match(judgments: Judgments, queries: Sequence[Query]) -> Matched:
    """Return the judgments of ``queries``, which they name by id or else by text.

    Raises `ConfigurationError`, its key the file and line, if a text is that of several queries, or
    if an id is that of no query except for upper and lower case.
    """
    ids = {query.id for query in queries}
    texts: dict[str, list[str]] = {}
    for query in queries:
        texts.setdefault(_spaces(query.text), []).append(query.id)
    folded = {name.casefold(): name for name in (*texts, *ids)}
    result = Matched({})
    unknown: dict[str, Judgment] = {}
    for judgment in judgments.items:
        name = judgment.query
        named = [name] if name in ids else texts.get(_spaces(name), [])
        if len(named) > 1:
            raise ConfigurationError(
                judgment.where,
                f"{len(named)} queries have the text {name!r}; name the id: {', '.join(named)}",
            )
        if named:
            result.qrels.setdefault(named[0], {})[judgment.document] = int(judgment.grade)
            result.judged_at.setdefault(judgment.document, judgment.where)
        elif (other := folded.get(name.casefold())) is not None:
            raise ConfigurationError(
                judgment.where,
                f"no query is {name!r}, but one is {other!r}: upper and lower case must match",
            )
        else:
            unknown.setdefault(name, judgment)
    if not unknown:
        return result
    first = next(iter(unknown.values()))
    note = (
        f"{len(unknown):,} of {len(unknown) + len(result.qrels):,} judged queries are not among "
        f"the queries, such as {first.query!r} ({first.where})."
    )
    return Matched(result.qrels, result.judged_at, (note,))


def _rows(path: Path) -> tuple[Rows, Texts | None]:
    """Return the judgments and the queries' texts; None if the texts are the queries' names."""
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if ".json" in suffixes:
        value = _json(path)
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
        if n == 0 and not any(map(_is_number, cells[2:])):
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
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path}:{error.lineno}",
            f"not valid JSON: {error.msg}; name JSON lines .jsonl",
        ) from None


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


def _id(value: object, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ConfigurationError(where, f"the id of query or document is missing, got {value!r}")
    return str(value).strip()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _grade(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError(where, f"the grade must be a number, got {value!r}")
    if not _is_number(str(value)):
        raise ConfigurationError(
            where,
            f"the grade {value!r} is not a number; use 0 for not relevant, 1 and more for relevant",
        )
    return float(value)


def _whole(items: list[Judgment]) -> tuple[list[Judgment], str]:
    """Return the judgments with whole grades, and what was done for it.

    NDCG with linear gains does not change if all grades are multiplied by a number.
    """
    for power in range(_DECIMALS + 1):
        factor = 10**power
        if power == _DECIMALS or all(float(round(j.grade * factor, 6)).is_integer() for j in items):
            break
    if factor == 1:
        return items, ""
    scaled = [replace(j, grade=float(round(j.grade * factor))) for j in items]
    return scaled, (
        f"Grades have decimals: they were multiplied by {factor:,}, which does not change NDCG; "
        "a document counts as relevant if its grade is above 0."
    )


def _left_out(wheres: Sequence[str], what: str) -> str:
    if not wheres:
        return ""
    return f"Left out: {len(wheres):,} judgments {what}, such as {wheres[0]}."


def _spaces(text: str) -> str:
    return " ".join(text.split())
