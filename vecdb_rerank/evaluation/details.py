"""Compute what the means of an evaluation do not show: pure functions of runs and judgments."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.metrics import Percentiles, Ranked
from vecdb_rerank.evaluation.result import (
    ClassRow,
    Details,
    Hit,
    HitsRow,
    MovedHit,
    QueryQuality,
    QueryReport,
    RecallCurve,
    RelevantDocument,
    rounded,
    stage_pairs,
)
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import ROUNDING, bootstrap, paired

DEEP_K = 200  # the depth whose recall counts as all that the first pass can find
DEPTHS = (1, 5, 10, 20, 30, 50, 75, 100, 150, DEEP_K)
RECALL_SHARE = 0.95  # of the recall at `DEEP_K` that a sufficient k reaches
FEW_HITS, MANY_HITS = 5, 20  # compared for "why not just retrieve more?"
STAGES = ("embed", "first_pass", "rerank", "total")
SNIPPET_CHARS = 500  # of a document in a report
Text = Callable[[str], str]
"""Returns the text of a document by its id."""


def compute(
    dataset: Dataset,
    runs: Mapping[str, Run],
    deep: Run,
    mode: str,
    k: int,
    text: Text,
    others: Mapping[str, Ranked] | None = None,
) -> Details:
    """Return the details of all stages' runs, most of them about ``mode``.

    ``deep`` is the first pass of ``mode`` with ``k=DEEP_K``, ``others`` are runs of other systems.
    """
    raw, reranked = runs[mode], runs[f"{mode}+rerank"]
    qrels = dataset.qrels
    values = ndcg(raw.ranked, reranked.ranked, qrels)
    reports = query_reports(dataset, raw, reranked, lambda d: text(d)[:SNIPPET_CHARS])
    more = raw if k >= MANY_HITS else deep
    comparisons = {
        name: paired(list(changes(first.ranked, second.ranked, qrels).values())).as_dict()
        for name, first, second in stage_pairs(runs)
    }
    result: Details = {
        "mode": mode,
        "against_first_pass": comparisons,
        "against_runs": {
            name: paired(list(changes(other, reranked.ranked, qrels).values())).as_dict()
            for name, other in (others or {}).items()
        },
        "changes": changes(raw.ranked, reranked.ranked, qrels),
        "ndcg": values,
        "classes": dataset.classes,
        "by_class": by_class(values, dataset.classes),
        "recall_curve": recall_curve(deep.by_hit, qrels),
        "retrieve_more": retrieve_more(more.ranked, reranked.ranked, qrels, text),
        "latency_ms": stage_latency(reranked),
        "truncated": None if reranked.cached else reranked.truncated,
        "statuses": dict(reranked.statuses),
        "cost_per_1000": 1000 * reranked.cost / max(1, len(reranked.ranked)),
        "best": reports.best,
        "worst": reports.worst,
    }
    return rounded(result)


def changes(raw: Ranked, reranked: Ranked, qrels: Qrels) -> dict[str, float]:
    """Return the change of NDCG@10 (-1 to 1) by query."""
    before, after = (metrics.ndcg_by_query(ranked, qrels) for ranked in (raw, reranked))
    return {query_id: after[query_id] - before[query_id] for query_id in before}


def ndcg(raw: Ranked, reranked: Ranked, qrels: Qrels) -> dict[str, QueryQuality]:
    """Return the NDCG@10 (0 to 1) of both orders by query."""
    before, after = (metrics.ndcg_by_query(ranked, qrels) for ranked in (raw, reranked))
    return {query: {"first_pass": before[query], "reranked": after[query]} for query in before}


def by_class(values: Mapping[str, QueryQuality], classes: Mapping[str, str]) -> list[ClassRow]:
    """Return the means of each class of queries, in the order of the classes' names."""
    groups: dict[str, list[QueryQuality]] = {}
    for query, name in classes.items():
        if query in values:
            groups.setdefault(name, []).append(values[query])
    return [_class_row(name, groups[name]) for name in sorted(groups)]


def _class_row(name: str, values: Sequence[QueryQuality]) -> ClassRow:
    changes = [value["reranked"] - value["first_pass"] for value in values]
    return {
        "class": name,
        "queries": len(values),
        "first_pass": statistics.fmean(value["first_pass"] for value in values),
        "reranked": statistics.fmean(value["reranked"] for value in values),
        "change": statistics.fmean(changes),
        "interval": bootstrap(changes),
    }


def recall_curve(deep: Ranked, qrels: Qrels) -> RecallCurve:
    """Return the recall of the first pass by depth."""
    wanted = RECALL_SHARE * metrics.recall(deep, qrels, DEEP_K) - ROUNDING
    ks = range(1, DEEP_K)
    return {
        "recall": {str(k): metrics.recall(deep, qrels, k) for k in DEPTHS},
        "k_for_95": 1 + bisect_left(ks, wanted, key=lambda k: metrics.recall(deep, qrels, k)),
    }


def retrieve_more(raw: Ranked, reranked: Ranked, qrels: Qrels, text: Text) -> list[HitsRow]:
    """Return how many hits of the first pass compare with few reranked ones."""
    return [
        _hits_row(f"first pass, top {FEW_HITS}", raw, FEW_HITS, qrels, text),
        _hits_row(f"first pass, top {MANY_HITS}", raw, MANY_HITS, qrels, text),
        _hits_row(f"reranked, top {FEW_HITS}", reranked, FEW_HITS, qrels, text),
    ]


def _hits_row(name: str, ranked: Ranked, n: int, qrels: Qrels, text: Text) -> HitsRow:
    tops = {query_id: list(documents[:n]) for query_id, documents in ranked.items()}
    relevant = {
        query_id: metrics.relevant(qrels.get(query_id, {})).intersection(top)
        for query_id, top in tops.items()
    }
    shares = (len(relevant[q]) / max(1, len(top)) for q, top in tops.items())
    lengths = (sum(len(text(document)) for document in top) for top in tops.values())
    return {
        "hits": name,
        "found": statistics.fmean(bool(documents) for documents in relevant.values()),
        "recall": metrics.recall(ranked, qrels, n),
        "relevant": statistics.fmean(shares),
        "characters": statistics.fmean(lengths),
    }


def stage_latency(run: Run) -> dict[str, Percentiles] | None:
    """Return milliseconds by stage of a search; None if scores came from a cache."""
    if run.cached:
        return None
    stages = (name for name in STAGES if any(name in timings for timings in run.timings))
    return {
        name: metrics.latency([timings.get(name, 0.0) for timings in run.timings])
        for name in stages
    }


class Reports(NamedTuple):
    """The queries that gained most, and those that lost most or have the lowest NDCG@10."""

    best: list[QueryReport]
    worst: list[QueryReport]


def query_reports(
    dataset: Dataset, raw: Run, reranked: Run, text: Text, count: int = 10
) -> Reports:
    """Report up to ``count`` queries that reranking improved most, and as many that it worsened.

    The worst ones are filled up with the queries of the lowest NDCG@10.
    """
    values = ndcg(raw.ranked, reranked.ranked, dataset.qrels)
    changes = {query: value["reranked"] - value["first_pass"] for query, value in values.items()}
    gained = [query for query in changes if changes[query] > ROUNDING]
    best = sorted(gained, key=lambda query: -changes[query])
    worst = sorted(values, key=lambda q: (min(0.0, changes[q]), values[q]["reranked"]))

    def report(query_id: str) -> QueryReport:
        return {
            "query_id": query_id,
            "query": dataset.queries[query_id],
            **values[query_id],
            "top": {
                "first_pass": _top_hit(raw.ranked[query_id], text),
                "reranked": _top_hit(reranked.ranked[query_id], text),
            },
            "moved": moved_hits(
                raw.ranked[query_id],
                reranked.ranked[query_id],
                dataset.qrels.get(query_id, {}),
                text,
            ),
            "relevant": _relevant_documents(query_id, dataset.qrels, raw, reranked, text),
        }

    return Reports([report(q) for q in best[:count]], [report(q) for q in worst[:count]])


def moved_hits(
    raw: Sequence[str],
    reranked: Sequence[str],
    grades: Mapping[str, int],
    text: Text,
    count: int = 3,
) -> list[MovedHit]:
    """Return the hits among the first ten of either order that moved most, by reciprocal rank."""
    ranks = {hit: (_rank(raw, hit), _rank(reranked, hit)) for hit in (*raw[:10], *reranked[:10])}

    def distance(hit: str) -> float:
        before, after = (1 / rank if rank else 0.0 for rank in ranks[hit])
        return abs(after - before)

    moved = sorted((hit for hit in ranks if distance(hit)), key=distance, reverse=True)
    return [
        {
            "id": hit,
            "text": text(hit),
            "grade": grades.get(hit),
            "first_pass_rank": ranks[hit][0],
            "rank": ranks[hit][1],
        }
        for hit in moved[:count]
    ]


def _top_hit(ranked: Sequence[str], text: Text) -> Hit | None:
    return {"id": ranked[0], "text": text(ranked[0])} if ranked else None


def _relevant_documents(
    query_id: str, qrels: Qrels, raw: Run, reranked: Run, text: Text, count: int = 3
) -> list[RelevantDocument]:
    grades = qrels.get(query_id, {})
    best = sorted(metrics.relevant(grades), key=lambda d: (-grades[d], d))
    return [
        {
            "id": document,
            "text": text(document),
            "grade": grades[document],
            "first_pass_rank": _rank(raw.ranked[query_id], document),
            "rank": _rank(reranked.ranked[query_id], document),
            "relevance": reranked.relevance.get(query_id, {}).get(document),
        }
        for document in best[:count]
    ]


def _rank(ranked: Sequence[str], document: str) -> int | None:
    return ranked.index(document) + 1 if document in ranked else None


def texts(dataset: Dataset, render: Callable[[Mapping[str, object]], str]) -> Text:
    """Return a function from a document's id to its text, empty for an unknown id."""
    documents = {str(document["_id"]): document for document in dataset.corpus}
    return lambda document_id: render(documents.get(document_id, {}))
