"""The runs of an evaluation with one setting, from what tuning collected."""

from __future__ import annotations

from collections.abc import Mapping

from vecdb_rerank.evaluation.document_ids import distinct
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.tuning.collected import Collected, Searched
from vecdb_rerank.evaluation.tuning.grid import Setting
from vecdb_rerank.model import HitId


def as_runs(collected: Collected, setting: Setting) -> dict[str, Run]:
    """Return the runs ``bm25``, ``dense``, ``hybrid`` and ``hybrid+rerank`` under ``setting``.

    A collection with one branch has no ``hybrid``, and that branch is reranked. Latencies are
    approximate, and the branches of a hybrid search have none.
    """
    [*branches] = collected.queries[0].branches
    main = "hybrid" if len(branches) > 1 else branches.pop()
    runs = {name: Run(cached=name != main) for name in (*branches, main)}
    reranked_ms = collected.latency_ms(setting)
    reranked = runs[f"{main}+rerank"] = Run(cached=reranked_ms is None)
    for query in collected.queries:
        for branch in branches:
            hits = query.branches[branch]
            scores = {i: hit.score for i, hit in hits.items() if hit.rank <= setting.depth}
            _add(runs[branch], query, scores, 0.0)
        candidates = query.first_pass(setting.depth, setting.fusion, setting.k)
        _add(runs[main], query, {c.id: c.score for c in candidates}, collected.first_pass_ms)
        order = query.reranked(candidates, setting, collected.policy)
        reranked.add(query.query_id, order, reranked_ms or 0.0)
        reranked.scored[query.query_id] = query.scored(candidates, setting)
    return runs


def _add(run: Run, query: Searched, scores: Mapping[HitId, float], milliseconds: float) -> None:
    """Record one query's hits, which are given best first, by the documents' own ids."""
    named = [(query.names[hit_id], score) for hit_id, score in scores.items()]
    run.add(query.query_id, distinct(name for name, _ in named), milliseconds)
    best: dict[str, float] = {}
    for name, score in named:
        best.setdefault(name, score)
    run.scores[query.query_id] = best
