"""What an evaluation says beyond its means: pure functions of runs and judgments."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.metrics import Ranked
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import SAME, paired

DEEP = 200  # how deep the first pass is looked into for its recall
DEPTHS = (1, 5, 10, 20, 30, 50, 75, 100, 150, DEEP)
SHARE = 0.95  # of the recall at `DEEP`, that k is to reach
# "Why not just retrieve more?": so many hits of the first pass, or so many reranked ones.
MORE, FEWER = 20, 5
STAGES = ("embed", "first_pass", "rerank", "total")
Text = Callable[[str], str]  # the text of a document by its id


def comparison(raw: Ranked, reranked: Ranked, qrels: Qrels) -> dict[str, Any]:
    """Per query, the reranked order against the first pass's, by NDCG@10."""
    return asdict(paired(list(changes(raw, reranked, qrels).values())))


def changes(raw: Ranked, reranked: Ranked, qrels: Qrels) -> dict[str, float]:
    """The change of NDCG@10 (-1 to 1) by query."""
    before, after = (metrics.ndcg_by_query(ranked, qrels) for ranked in (raw, reranked))
    return {query_id: after[query_id] - before[query_id] for query_id in before}


def recall_curve(deep: Ranked, qrels: Qrels) -> dict[str, Any]:
    """Recall by depth of the first pass, and the least k with 95 % of the recall at 200."""
    all_of_it = metrics.recall(deep, qrels, DEEP)

    def enough(k: int) -> bool:
        return metrics.recall(deep, qrels, k) >= SHARE * all_of_it - SAME

    return {
        "recall": {str(k): metrics.recall(deep, qrels, k) for k in DEPTHS},
        "k_for_95": _least(enough, DEEP),
    }


def _least(holds: Callable[[int], bool], high: int) -> int:
    """The least number from 1 to ``high`` for which ``holds``, which never ceases to."""
    low = 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def retrieve_more(raw: Ranked, reranked: Ranked, qrels: Qrels, text: Text) -> list[dict[str, Any]]:
    """Many hits of the first pass against few reranked ones: what they hold, and their length.

    ``found`` is the share of queries with a relevant hit, ``recall`` that of the relevant
    documents, ``relevant`` that of the hits which are relevant (0 to 1); ``characters`` is the
    mean length of the hits together.
    """
    rows = (
        (f"first pass, top {FEWER}", raw, FEWER),
        (f"first pass, top {MORE}", raw, MORE),
        (f"reranked, top {FEWER}", reranked, FEWER),
    )
    return [{"hits": name, **_held(ranked, qrels, n, text)} for name, ranked, n in rows]


def _held(ranked: Ranked, qrels: Qrels, n: int, text: Text) -> dict[str, float]:
    tops = {query_id: list(documents[:n]) for query_id, documents in ranked.items()}
    good = {
        query_id: metrics.relevant(qrels.get(query_id, {})).intersection(top)
        for query_id, top in tops.items()
    }
    return {
        "found": statistics.fmean(bool(g) for g in good.values()),
        "recall": metrics.recall(ranked, qrels, n),
        "relevant": statistics.fmean(len(good[q]) / max(1, len(top)) for q, top in tops.items()),
        "characters": statistics.fmean(sum(len(text(d)) for d in top) for top in tops.values()),
    }


def stage_latency(run: Run) -> dict[str, dict[str, float]] | None:
    """p50 and p95 in milliseconds by stage of a search; None where scores came from a cache."""
    if run.cached:
        return None
    stages = (name for name in STAGES if any(name in timings for timings in run.timings))
    return {
        name: metrics.latency([timings.get(name, 0.0) for timings in run.timings])
        for name in stages
    }


def worst(
    dataset: Dataset, raw: Run, reranked: Run, text: Text, count: int = 10
) -> list[dict[str, Any]]:
    """The queries that reranking made worse most, then those with the least NDCG@10.

    Each with its text, both values, the best hits of both orders and the relevant documents with
    their ranks (from 1; None where the first pass lacks them) and relevance.
    """
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
                "first_pass": _top(raw.ranked[query_id], text),
                "reranked": _top(reranked.ranked[query_id], text),
            },
            "relevant": _relevant(query_id, dataset.qrels, raw, reranked, text),
        }
        for query_id in order[:count]
    ]


def _top(ranked: Sequence[str], text: Text) -> dict[str, str] | None:
    return {"id": ranked[0], "text": text(ranked[0])} if ranked else None


def _relevant(
    query_id: str, qrels: Qrels, raw: Run, reranked: Run, text: Text, count: int = 3
) -> list[dict[str, Any]]:
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


def texts(dataset: Dataset, render: Callable[[Mapping[str, Any]], str]) -> Text:
    """The text of a document by its id, as ``render`` makes it; empty for an unknown one."""
    documents = {str(document["_id"]): document for document in dataset.corpus}
    return lambda document: render(documents.get(document, {}))
