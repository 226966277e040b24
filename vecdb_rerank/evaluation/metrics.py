"""Compute retrieval metrics and latency percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from vecdb_rerank._optional import require
from vecdb_rerank.evaluation.datasets import Qrels

Ranked = Mapping[str, Sequence[str]]
"""Document ids by query, best first."""


class Percentiles(TypedDict):
    """The median and the 95th percentile."""

    p50: float
    p95: float


def quality(ranked: Ranked, qrels: Qrels, k: int) -> dict[str, float]:
    """Return ``ndcg@10``, ``mrr@10``, ``recall@k`` and ``judged@10``: means over ranked queries.

    ``judged@10`` is the share of the first ten hits that are judged at all. Over the queries that
    have documents judged not relevant, ``condensed_ndcg@10`` (NDCG of the judged hits alone; Sakai,
    2007) and ``bpref`` (Buckley and Voorhees, 2004) follow. Without such documents both are 1 for
    any run that finds the relevant ones. All are from 0 to 1.
    """
    measures = require("ir_measures", "evaluation")
    wanted = {
        "ndcg@10": measures.nDCG @ 10,
        "mrr@10": measures.RR @ 10,
        f"recall@{k}": measures.R @ k,
    }
    found = _means(wanted, ranked, qrels) | {"judged@10": judged(ranked, qrels)}
    if queries := with_negatives(ranked, qrels):
        robust = {
            "condensed_ndcg@10": measures.nDCG(judged_only=True) @ 10,
            "bpref": measures.Bpref,
        }
        found |= _means(robust, {query: ranked[query] for query in queries}, qrels)
    return found


def judged(ranked: Ranked, qrels: Qrels, n: int = 10) -> float:
    """Return the share (0 to 1) of the first ``n`` hits that are judged, a mean over queries."""
    tops = ((qrels.get(query, {}), hits[:n]) for query, hits in ranked.items() if hits)
    shares = [sum(hit in grades for hit in hits) / len(hits) for grades, hits in tops]
    return statistics.fmean(shares) if shares else 0.0


def with_negatives(queries: Iterable[str], qrels: Qrels) -> list[str]:
    """Return the queries that have a document judged not relevant."""
    return [q for q in queries if any(grade <= 0 for grade in qrels.get(q, {}).values())]


def _means(measures: Mapping[str, Any], ranked: Ranked, qrels: Qrels) -> dict[str, float]:
    found = require("ir_measures", "evaluation").calc_aggregate(
        list(measures.values()), *_as_trec(ranked, qrels)
    )
    return {name: float(found[measure]) for name, measure in measures.items()}


def ndcg_by_query(ranked: Ranked, qrels: Qrels) -> dict[str, float]:
    """Return the NDCG@10 (0 to 1) of each ranked query, in the same order."""
    return {query: ndcg(documents, qrels.get(query, {})) for query, documents in ranked.items()}


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], n: int = 10) -> float:
    """Return NDCG@n (0 to 1) with linear gains, as trec_eval computes it.

    Järvelin and Kekäläinen (2002); 0 without a relevant document.
    """
    ideal = _dcg(sorted(grades.values(), reverse=True)[:n])
    return _dcg([grades.get(document, 0) for document in ranked[:n]]) / ideal if ideal else 0.0


def _dcg(grades: Sequence[int]) -> float:
    return sum(max(0, grade) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def recall(ranked: Ranked, qrels: Qrels, k: int) -> float:
    """Return the mean share (0 to 1) of the relevant documents among the first ``k`` hits."""
    return statistics.fmean(_recall(ranked[q][:k], qrels.get(q, {})) for q in ranked)


def latency(milliseconds: Sequence[float]) -> Percentiles:
    """Return the percentiles of latencies, 0.0 for none."""
    if len(milliseconds) < 2:
        only = milliseconds[0] if milliseconds else 0.0
        return {"p50": only, "p95": only}
    cuts = statistics.quantiles(milliseconds, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}


def relevant(grades: Mapping[str, int]) -> set[str]:
    """Return the ids of the documents that are judged relevant."""
    return {document for document, grade in grades.items() if grade > 0}


def _recall(hits: Sequence[str], grades: Mapping[str, int]) -> float:
    wanted = relevant(grades)
    return len(wanted.intersection(hits)) / len(wanted) if wanted else 0.0


def _as_trec(
    ranked: Ranked, qrels: Qrels
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Return judgments and scores of the ranked queries in the form of ir-measures."""
    judged = {query_id: dict(qrels.get(query_id, {})) for query_id in ranked}
    scored = {
        query_id: {document: -float(n) for n, document in enumerate(documents)}
        for query_id, documents in ranked.items()
    }
    return judged, scored
