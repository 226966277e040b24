"""Write judgments for other tools: Quepid, OpenSearch, trec_eval, BEIR."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.encoding import encoded, guarded
from vecdb_rerank.evaluation.judgments import Judgment, Judgments
from vecdb_rerank.evaluation.queries import Query

_METRIC = {"dcg": {"k": 10, "normalize": True}}


@dataclass(frozen=True, slots=True)
class Target:
    """What ``_rank_eval`` needs to know: the index, and the fields that it searches."""

    index: str = ""
    fields: Sequence[str] = ()


def quepid(judgments: Judgments, queries: Sequence[Query], _: Target) -> str:
    """Return Quepid's CSV: ``query,docid,rating``, where a query is its text.

    A value that a spreadsheet would run as a formula follows an apostrophe.
    """
    texts = _texts(judgments, queries)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("query", "docid", "rating"))
    for each in judgments.items:
        writer.writerow((guarded(texts[each.query]), guarded(each.document), f"{each.grade:g}"))
    return out.getvalue()


def rank_eval(judgments: Judgments, queries: Sequence[Query], target: Target) -> str:
    """Return a request to OpenSearch's ``_rank_eval`` that searches the texts with BM25.

    It measures NDCG@10. Change ``request`` to measure another search.
    """
    if not target.index:
        raise ConfigurationError("--index", "is missing: _rank_eval rates documents of an index")
    texts = _texts(judgments, queries)
    requests = [
        {
            "id": query,
            "request": {
                "query": {"multi_match": {"query": texts[query], "fields": [*target.fields]}}
            },
            "ratings": [
                {"_index": target.index, "_id": each.document, "rating": int(each.grade)}
                for each in group
            ],
        }
        for query, group in _by_query(judgments)
    ]
    return _as_json({"requests": requests, "metric": _METRIC})


def workbench(judgments: Judgments, queries: Sequence[Query], _: Target) -> str:
    """Return a request that imports the judgments to OpenSearch's Search Relevance Workbench.

    Ratings are strings, as in its documentation ("Importing judgments").
    """
    texts = _texts(judgments, queries)
    ratings = [
        {
            "query": texts[query],
            "ratings": [{"docId": each.document, "rating": f"{each.grade:.3f}"} for each in group],
        }
        for query, group in _by_query(judgments)
    ]
    return _as_json({"name": "Judgments", "type": "IMPORT_JUDGMENT", "judgmentRatings": ratings})


def trec(judgments: Judgments, _queries: Sequence[Query], _: Target) -> str:
    """Return TREC's qrels; an id with white space is percent-encoded."""
    rows = (
        f"{encoded(each.query)} 0 {encoded(each.document)} {each.grade:g}\n"
        for each in judgments.items
    )
    return "".join(rows)


def beir(judgments: Judgments, _queries: Sequence[Query], _: Target) -> str:
    """Return the qrels of the BEIR layout.

    Raises `ConfigurationError` for an id with a tab or a line break, which it cannot hold.
    """
    for each in judgments.items:
        if any(character in f"{each.query}{each.document}" for character in "\t\r\n"):
            raise ConfigurationError(each.where, "has a tab or line break in an id; use trec")
    rows = (f"{each.query}\t{each.document}\t{each.grade:g}\n" for each in judgments.items)
    return "".join(("query-id\tcorpus-id\tscore\n", *rows))


FORMATS: Mapping[str, Callable[[Judgments, Sequence[Query], Target], str]] = {
    "quepid": quepid,
    "rank_eval": rank_eval,
    "workbench": workbench,
    "trec": trec,
    "beir": beir,
}


def _texts(judgments: Judgments, queries: Sequence[Query]) -> dict[str, str]:
    """Return the text of each judged query; raise `ConfigurationError` if one is not known."""
    known = {**judgments.texts, **{query.id: query.text for query in queries}}
    for each in judgments.items:
        if each.query not in known:
            raise ConfigurationError(
                each.where,
                f"the text of query {each.query!r} is not known; name the file with the queries: "
                "--queries-file",
            )
    return known


def _by_query(judgments: Judgments) -> list[tuple[str, list[Judgment]]]:
    order = {query: n for n, query in enumerate(dict.fromkeys(j.query for j in judgments.items))}
    ordered = sorted(judgments.items, key=lambda each: order[each.query])
    return [(query, [*group]) for query, group in groupby(ordered, lambda each: each.query)]


def _as_json(value: object) -> str:
    return f"{json.dumps(value, ensure_ascii=False, indent=2)}\n"
