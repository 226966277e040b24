"""The `Outcome` of a search, from its final order: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from vecdb_rerank.model import Answer, Ranking
from vecdb_rerank.outcome import ExplainedHit, Outcome, StageEffect
from vecdb_rerank.policy import Policy
from vecdb_rerank.ranking import ordering
from vecdb_rerank.search.result import RankedSearch

R = TypeVar("R")


def build(
    ranked: RankedSearch[R],
    page: Ranking,
    *,
    backend: str,
    policy: Policy,
    timings: Mapping[str, float],
    explain: bool,
) -> Outcome:
    """Return the outcome of a search that ended in ``page``; with ``explain``, hit by hit."""
    outcome = _counted(ranked, backend, policy, timings)
    if ranked.skip_rule is not None and ranked.status in ("reranked", "partial"):
        raw = ordering.unchanged(ranked.window).page(ranked.search.offset, ranked.search.limit)
        outcome = replace(outcome, would_skip=ranked.skip_rule, skip_change=_change(raw, page))
    return replace(outcome, hits=_explained(ranked, page)) if explain else outcome


def _counted(
    ranked: RankedSearch[R], backend: str, policy: Policy, timings: Mapping[str, float]
) -> Outcome:
    search, candidates, hits = ranked.search, ranked.window, ranked.ranking.hits
    answer = ranked.answer or Answer(ranked.reranker)
    return Outcome(
        status=ranked.status,
        reason=ranked.reason or search.note,
        error=ranked.error,
        backend=backend,
        reranker=ranked.reranker,
        mode=search.mode,
        fused_by=ranked.first.fused_by,
        k=search.k,
        seen=len(candidates),
        scored=sum(h.relevance is not None for h in hits),
        estimated=sum(h.estimate is not None for h in hits),
        stopped=ranked.stopped,
        empty=sum(not c.text for c in candidates),
        truncated=answer.scores.truncated if answer.scores else 0,
        passages=ranked.passages,
        failed=answer.failed,
        billed=answer.billed,
        cost=policy.cost.of(answer.billed),
        timings=timings,
        relevance={h.candidate.id: h.relevance for h in hits if h.relevance is not None},
        raw={h.candidate.id: h.raw for h in hits if h.raw is not None},
        first_pass_score={c.id: c.score for c in candidates},
        notes=ranked.notes,
        branch_weights=ranked.branch_weights,
    )


def _change(one: Ranking, other: Ranking) -> float:
    """Return the share of hits of ``one`` that ``other`` lacks."""
    found = {hit.candidate.position for hit in other.hits}
    missing = sum(hit.candidate.position not in found for hit in one.hits)
    return missing / len(one.hits) if one.hits else 0.0


def _effects(ranked: RankedSearch[R]) -> Mapping[int, list[StageEffect]]:
    """Return what each stage of `Policy.after` did, by the position of the hit."""
    found: dict[int, list[StageEffect]] = {}
    for traced in ranked.trace:
        first = len(ranked.shown.hits) - len(traced.order) + 1  # after those of settled pages
        scores, values = traced.scores.tolist(), traced.step.values
        for rank, n in enumerate(traced.order, start=first):
            value = values[n] if values else None
            effect = StageEffect(traced.step.name, scores[n], rank, value)
            found.setdefault(ranked.window[n].position, []).append(effect)
    return found


def _explained(ranked: RankedSearch[R], page: Ranking) -> tuple[ExplainedHit, ...]:
    everything = (*ranked.window, *ranked.tail)
    first_rank = {c.position: n for n, c in enumerate(everything, start=1)}
    branches = {c.position: c.branches for c in everything}
    effects = _effects(ranked)
    return tuple(
        ExplainedHit(
            id=hit.candidate.id,
            rank=rank,
            score=hit.score,
            first_pass_rank=first_rank[hit.candidate.position],
            first_pass_score=hit.candidate.score,
            raw=hit.raw,
            relevance=hit.relevance,
            branches=branches[hit.candidate.position],
            estimate=hit.estimate,
            after=tuple(effects.get(hit.candidate.position, ())),
        )
        for rank, hit in enumerate(page.hits, start=ranked.search.offset + 1)
    )
