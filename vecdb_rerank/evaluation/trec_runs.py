"""Read and write runs in TREC's format: query, Q0, document, rank, score, name of the system."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import columns
from vecdb_rerank.evaluation.encoding import decoded, encoded
from vecdb_rerank.evaluation.judgments import Qrels
from vecdb_rerank.evaluation.metrics import Ranked

_OURS = "vecdb-rerank:"  # before the name of a system: ids are encoded


class _Hit(NamedTuple):
    """A document with what it is sorted by."""

    score: float
    rank: float
    document: str


def lines(ranked: Ranked, name: str) -> Iterator[str]:
    """Yield the lines of a run, scores from the number of hits down to 1.

    The scores fall strictly, because tools sort by them: trec_eval reads them with 24 bits of
    precision and orders equal ones by the id. An id with white space is percent-encoded, which
    the name of the system tells a reader.
    """
    for query_id, documents in ranked.items():
        for rank, document in enumerate(documents, start=1):
            score = len(documents) + 1 - rank
            yield f"{encoded(query_id)} Q0 {encoded(document)} {rank} {score} {_OURS}{name}\n"


def read(path: Path, queries: Mapping[str, str], qrels: Qrels) -> tuple[Ranked, list[str]]:
    """Return the documents of each of ``queries``, best score first, and notes about the run.

    Equal scores keep the order of the ranks. A query that the run lacks has no documents. Ids are
    read as `lines` writes them; those of other tools stay as they are if ``queries`` or ``qrels``
    have them so.

    Raises `ConfigurationError`, its key the file and line, if a line has another form, or if a
    document comes twice for one query.
    """
    found: dict[str, dict[str, _Hit]] = {}
    others: dict[str, str] = {}
    for where, line in columns.lines(path):
        query_id, hit = _line(line, where, queries, qrels)
        if query_id not in queries:
            others.setdefault(query_id, where)
        elif hit.document in found.setdefault(query_id, {}):
            raise ConfigurationError(
                where, f"document {hit.document!r} comes twice for query {query_id!r}"
            )
        else:
            found[query_id][hit.document] = hit
    if not found and not others:
        raise ConfigurationError(str(path), "is empty")
    if not found:
        example = next(iter(others), "")
        raise ConfigurationError(
            str(path), f"has hits of none of the queries; its own are such as {example!r}"
        )
    ranked = {q: _sorted(found.get(q, {})) for q in queries}
    return ranked, _notes(path, found, queries, others)


def _line(line: str, where: str, queries: Mapping[str, str], qrels: Qrels) -> tuple[str, _Hit]:
    cells = line.split()
    if len(cells) != 6:
        raise ConfigurationError(
            where,
            "expected a query, Q0, a document, a rank, a score and a name, separated by spaces; "
            f"got {len(cells)} values",
        )
    query, _, document, rank, score, name = cells
    if name.startswith(_OURS) or query not in queries:
        query = decoded(query)
    if name.startswith(_OURS) or document not in qrels.get(query, {}):
        document = decoded(document)
    try:
        hit = _Hit(float(score), float(rank), document)
    except ValueError:
        raise ConfigurationError(
            where, f"rank and score must be numbers, got {rank!r} and {score!r}"
        ) from None
    if not math.isfinite(hit.score):
        raise ConfigurationError(where, f"the score must be finite, got {score!r}")
    return query, hit


def _sorted(hits: Mapping[str, _Hit]) -> list[str]:
    return sorted(hits, key=lambda document: (-hits[document].score, hits[document].rank))


def _notes(
    path: Path,
    found: Mapping[str, Mapping[str, _Hit]],
    queries: Mapping[str, str],
    others: Mapping[str, str],
) -> list[str]:
    missing = [query_id for query_id in queries if query_id not in found]
    notes = []
    if missing:
        notes.append(
            f"{path} has no hits for {len(missing):,} of {len(queries):,} queries, such as "
            f"{missing[0]!r}: they count as 0."
        )
    if others:
        query_id, where = next(iter(others.items()))
        notes.append(
            f"{path} has {len(others):,} queries that are not evaluated, such as {query_id!r} "
            f"({where}): left out."
        )
    return notes
