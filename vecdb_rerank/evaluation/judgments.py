"""Read relevance judgments in the formats of search tools, and match them with queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import judgment_rows
from vecdb_rerank.evaluation.judgment_rows import is_number
from vecdb_rerank.evaluation.queries import Query

Qrels = Mapping[str, Mapping[str, int]]
"""Grades by query and document id; 0 and below is not relevant."""
_DECIMALS = 3  # of a grade; more are rounded
MAX_GRADE = 1000  # ir_measures takes memory in proportion to the largest grade


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

    ``.csv`` is Quepid's (``query,docid,rating``) or has other columns of `judgment_rows.NAMES`, as
    ``.jsonl`` has keys. ``.tsv`` has query, document and grade, with or without names of columns.
    ``.json`` is a ``_rank_eval`` request or a judgment list of Search Relevance Workbench. Any
    other suffix is TREC: query, a number without meaning, document and grade.

    Raises `ConfigurationError`, its key the file and line, for a grade that is not a number from
    ``-MAX_GRADE`` to ``MAX_GRADE``, and for a document that has two grades for one query.
    """
    rows, texts = judgment_rows.read(path)
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
    notes.append(scaled)
    if texts is None:
        texts = {each.query: each.query for each in items}
        notes.append(_differ_in_case(items))
    return Judgments(tuple(items), tuple(filter(None, notes)), texts)


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


def _id(value: object, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ConfigurationError(where, f"the id of query or document is missing, got {value!r}")
    return str(value).strip()


def _grade(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError(where, f"the grade must be a number, got {value!r}")
    if not is_number(str(value)):
        raise ConfigurationError(
            where,
            f"the grade {value!r} is not a number; use 0 for not relevant, 1 and more for relevant",
        )
    grade = float(value)
    if abs(grade) > MAX_GRADE:
        raise ConfigurationError(
            where, f"the grade {grade:g} is too large; use {-MAX_GRADE:,} to {MAX_GRADE:,}"
        )
    return grade


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


def _differ_in_case(items: Sequence[Judgment]) -> str:
    """Return a note about texts of queries that differ only in upper and lower case."""
    first: dict[str, Judgment] = {}
    other = {
        each.query: (first[folded], each)
        for each in items
        if first.setdefault(folded := _spaces(each.query).casefold(), each).query != each.query
    }
    if not other:
        return ""
    one, two = next(iter(other.values()))
    return (
        f"{len(other):,} queries differ from another one only in case or spaces, such as "
        f"{two.query!r} ({two.where}) from {one.query!r} ({one.where}): they count as different."
    )


def _left_out(wheres: Sequence[str], what: str) -> str:
    if not wheres:
        return ""
    return f"Left out: {len(wheres):,} judgments {what}, such as {wheres[0]}."


def _spaces(text: str) -> str:
    return " ".join(text.split())
