"""Retrieval metrics by ir-measures, and latency percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank._optional import require
from vecdb_rerank.evaluation.datasets import Qrels

Ranked = Mapping[str, Sequence[str]]  # document ids by query, best first


def quality(ranked: Ranked, qrels: Qrels, k: int) -> dict[str, float]:
    """``ndcg@10``, ``mrr@10`` and ``recall@k`` (0 to 1), means over the queries of ``ranked``.

    Document ids are given best first; that order is what counts, not any score.
    """
    measures = require("ir_measures", "evaluation")
    wanted = {
        "ndcg@10": measures.nDCG @ 10,
        "mrr@10": measures.RR @ 10,
        f"recall@{k}": measures.R @ k,
    }
    found = measures.calc_aggregate(list(wanted.values()), *_as_trec(ranked, qrels))
    return {name: float(found[measure]) for name, measure in wanted.items()}


def ndcg_by_query(ranked: Ranked, qrels: Qrels) -> dict[str, float]:
    """NDCG@10 (0 to 1) of each query of ``ranked``, in its order."""
    measures = require("ir_measures", "evaluation")
    judged, scored = _as_trec(ranked, qrels)
    found = measures.iter_calc([measures.nDCG @ 10], judged, scored)
    values = {metric.query_id: float(metric.value) for metric in found}
    return {query_id: values.get(query_id, 0.0) for query_id in ranked}


def recall(ranked: Ranked, qrels: Qrels, k: int) -> float:
    """The mean share (0 to 1) of a query's relevant documents among its first ``k``."""
    return statistics.fmean(_share(ranked[q][:k], qrels.get(q, {})) for q in ranked)


def latency(milliseconds: Sequence[float]) -> dict[str, float]:
    """The ``p50`` and ``p95`` of latencies, in their own unit."""
    if len(milliseconds) < 2:
        return dict.fromkeys(("p50", "p95"), milliseconds[0] if milliseconds else 0.0)
    cuts = statistics.quantiles(milliseconds, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}


def relevant(grades: Mapping[str, int]) -> set[str]:
    """The ids of the documents that are judged relevant."""
    return {document for document, grade in grades.items() if grade > 0}


def _share(found: Sequence[str], grades: Mapping[str, int]) -> float:
    wanted = relevant(grades)
    return len(wanted.intersection(found)) / len(wanted) if wanted else 0.0


def _as_trec(ranked: Ranked, qrels: Qrels) -> tuple[Any, Any]:
    """Judgments and scores of the queries of ``ranked`` as ir-measures takes them."""
    judged = {query_id: dict(qrels.get(query_id, {})) for query_id in ranked}
    scored = {
        query_id: {document: -float(n) for n, document in enumerate(documents)}
        for query_id, documents in ranked.items()
    }
    return judged, scored
