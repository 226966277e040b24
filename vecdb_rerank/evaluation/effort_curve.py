"""Quality by how many candidates are read, from runs that read all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Qrels
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import ordering, reading
from vecdb_rerank.ranking.estimates import estimates

COUNTS = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200)


class EffortRow(TypedDict):
    """The NDCG@10 if a reranker reads ``pairs`` documents of each query.

    ``estimated`` reads the most promising ones and estimates the others, as a search with
    ``Effort(pairs=...)`` does. ``set_aside`` reads the first ones of the first pass and leaves the
    others behind them. ``latency_ms`` is the mean time of a search at the run's milliseconds per
    document; None if scores came from a cache.
    """

    pairs: int
    estimated: float
    set_aside: float
    latency_ms: float | None


def effort_curve(run: Run, qrels: Qrels, policy: Policy) -> list[EffortRow]:
    """Return a row for each number of pairs up to the largest that a query of ``run`` has.

    ``run`` must be a reranked stage in which every candidate with text was scored; for any other,
    and where reading less changes nothing, the result is empty.
    """
    most = max((len(scored.candidates) for scored in run.scored.values()), default=0)
    if most <= COUNTS[0] or not all(map(_is_whole, run.scored.values())):
        return []
    promising = {
        query: reading.promising(scored.candidates, policy.blend, scored.branch_weights)
        for query, scored in run.scored.items()
    }

    def row(count: int) -> EffortRow:
        estimated, set_aside = [], []
        for query, scored in run.scored.items():
            grades = qrels.get(query, {})
            best = only(scored, promising[query][:count])
            best = replace(best, scores=estimated_scores(best, policy.blend))
            first = only(scored, range(min(count, len(scored.candidates))))
            estimated.append(metrics.ndcg(best.order(policy.blend, policy), grades))
            set_aside.append(metrics.ndcg(first.order(policy.blend, policy), grades))
        return {
            "pairs": count,
            "estimated": statistics.fmean(estimated),
            "set_aside": statistics.fmean(set_aside),
            "latency_ms": _latency(run, count),
        }

    return [row(count) for count in (*(n for n in COUNTS if n < most), most)]


def only(scored: Scored, read: Sequence[int]) -> Scored:
    """Return the candidates with the scores of those at the indices ``read`` alone."""
    kept = frozenset(read)
    raw, relevance = (
        [value if n in kept else None for n, value in enumerate(values)]
        for values in (scored.scores.raw, scored.scores.relevance)
    )
    return replace(scored, scores=replace(scored.scores, raw=raw, relevance=relevance))


def estimated_scores(scored: Scored, blend: Blend) -> Scores:
    """Return the scores of ``scored`` with estimates for the other candidates that have text."""
    relevance = ordering.decisive(scored.scores, blend)
    known = estimates(scored.candidates, relevance, scored.branch_weights)
    pairs = zip(scored.candidates, known, strict=True)
    return replace(scored.scores, estimates=[one if c.text else None for c, one in pairs])


def _is_whole(scored: Scored) -> bool:
    pairs = zip(scored.candidates, scored.scores.raw, strict=True)
    return all(raw is not None for candidate, raw in pairs if candidate.text)


def _latency(run: Run, count: int) -> float | None:
    """Return the mean milliseconds of a search that reads up to ``count`` documents."""
    if run.cached or not sum(run.pairs):
        return None
    rerank = sum(timings.get("rerank", 0.0) for timings in run.timings)
    others = statistics.fmean(t["total"] - t.get("rerank", 0.0) for t in run.timings)
    read = statistics.fmean(min(count, pairs) for pairs in run.pairs)
    return others + rerank / sum(run.pairs) * read
