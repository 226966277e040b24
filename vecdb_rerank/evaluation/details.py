"""Compute what the means of an evaluation do not show: pure functions of runs and judgments."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.metrics import Percentiles, Ranked
from vecdb_rerank.evaluation.result import (
    Details,
    Hit,
    HitsRow,
    QueryReport,
    RecallCurve,
    RelevantDocument,
    rounded,
    stage_pairs,
)
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import ROUNDING, paired

DEEP_K = 200  # the depth whose recall counts as all that the first pass can find
DEPTHS = (1, 5, 10, 20, 30, 50, 75, 100, 150, DEEP_K)
RECALL_SHARE = 0.95  # of the recall at `DEEP_K` that a sufficient k reaches
FEW_HITS, MANY_HITS = 5, 20  # compared for "why not just retrieve more?"
STAGES = ("embed", "first_pass", "rerank", "total")
SNIPPET_CHARS = 500  # of a document in a report
Text = Callable[[str], str]
"""Returns the text of a document by its id."""


def compute(
    dataset: Dataset, runs: Mapping[str, Run], deep: Run, mode: str, k: int, text: Text
) -> Details:
    """Return the details of all stages' runs, most of them about ``mode``.

    ``deep`` is the first pass of ``mode`` with ``k=DEEP_K``.
    """
    raw, reranked = runs[mode], runs[f"{mode}+rerank"]
    qrels = dataset.qrels
    more = raw if k >= MANY_HITS else deep
    comparisons = {
        name: paired(list(changes(first.ranked, second.ranked, qrels).values())).as_dict()
        for name, first, second in stage_pairs(runs)
    }
    result: Details = {
        "mode": mode,
        "against_first_pass": comparisons,
        "changes": changes(raw.ranked, reranked.ranked, qrels),
        "recall_curve": recall_curve(deep.by_hit, qrels),
        "retrieve_more": retrieve_more(more.ranked, reranked.ranked, qrels, text),
        "latency_ms": stage_latency(reranked),
        "truncated": None if reranked.cached else reranked.truncated,
        "statuses": dict(reranked.statuses),
        "cost_per_1000": 1000 * reranked.cost / max(1, len(reranked.ranked)),
        "worst": worst_queries(dataset, raw, reranked, lambda d: text(d)[:SNIPPET_CHARS]),
    }
    return rounded(result)


def changes(raw: Ranked, reranked: Ranked, qrels: Qrels) -> dict[str, float]:
    """Return the change of NDCG@10 (-1 to 1) by query."""
    before, after = (metrics.ndcg_by_query(ranked, qrels) for ranked in (raw, reranked))
    return {query_id: after[query_id] - before[query_id] for query_id in before}


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


def worst_queries(
    dataset: Dataset, raw: Run, reranked: Run, text: Text, count: int = 10
) -> list[QueryReport]:
    """Return the queries that lost most by reranking, then those with the lowest NDCG@10."""
    before = metrics.ndcg_by_query(raw.ranked, dataset.qrels)
    after = metrics.ndcg_by_query(reranked.ranked, dataset.qrels)
    order = sorted(after, key=lambda q: (min(0.0, after[q] - before[q]), after[q]))
    return [
        {
            "query_id": query_id,
            "query": dataset.queries[query_id],
            "first_pass": before[query_id],
            "reranked": after[query_id],
            "top": {
                "first_pass": _top_hit(raw.ranked[query_id], text),
                "reranked": _top_hit(reranked.ranked[query_id], text),
            },
            "relevant": _relevant_documents(query_id, dataset.qrels, raw, reranked, text),
        }
        for query_id in order[:count]
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
