"""Retrieval metrics by ir-measures, and latency percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from vecdb_rerank.evaluation.datasets import Qrels
from vecdb_rerank.optional import require


def quality(ranked: Mapping[str, Sequence[str]], qrels: Qrels, k: int) -> dict[str, float]:
    """``ndcg@10``, ``mrr@10`` and ``recall@k`` (0 to 1), means over the queries of ``ranked``.

    Document ids are given best first; that order is what counts, not any score.
    """
    measures = require("ir_measures", "evaluation")
    wanted = {
        "ndcg@10": measures.nDCG @ 10,
        "mrr@10": measures.RR @ 10,
        f"recall@{k}": measures.R @ k,
    }
    judged = {query_id: dict(qrels.get(query_id, {})) for query_id in ranked}
    scored = {
        query_id: {document: -float(n) for n, document in enumerate(documents)}
        for query_id, documents in ranked.items()
    }
    found = measures.calc_aggregate(list(wanted.values()), judged, scored)
    return {name: float(found[measure]) for name, measure in wanted.items()}


def latency(milliseconds: Sequence[float]) -> dict[str, float]:
    """The ``p50`` and ``p95`` of latencies, in their own unit."""
    if len(milliseconds) < 2:
        return dict.fromkeys(("p50", "p95"), milliseconds[0] if milliseconds else 0.0)
    cuts = statistics.quantiles(milliseconds, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}
