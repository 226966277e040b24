"""What is told of a search: from its final order to the `Outcome`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.outcome import ExplainedHit, Outcome
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.ranking import ordering
from vecdb_rerank.request import NativeSearch, Search
from vecdb_rerank.search.result import Verdict

R = TypeVar("R")
AnySearch = Search | NativeSearch


@dataclass(frozen=True, slots=True)
class Judged(Generic[R]):
    """A search whose window is in final order: the ``window`` and what follows it, as found.

    ``kept`` are the hits of the verdict that are relevant enough. ``rule`` is the skip rule that
    applied.
    """

    search: AnySearch
    first: FirstPass[R]
    window: Sequence[Candidate]
    rest: Sequence[Candidate]
    verdict: Verdict
    kept: Ranking
    rule: str | None


def outcome(
    judged: Judged[Any],
    page: Ranking,
    *,
    backend: str,
    policy: Policy,
    timings: Mapping[str, float],
    explain: bool,
) -> Outcome:
    """What happened to a search that ended in ``page``; with ``explain``, hit by hit."""
    told = _counted(judged, backend, policy, timings)
    if judged.rule is not None and judged.verdict.rescored:
        raw = ordering.unchanged(judged.window).page(judged.search.offset, judged.search.limit)
        told = replace(told, would_skip=judged.rule, skip_change=_change(raw, page))
    return replace(told, hits=_explained(judged, page)) if explain else told


def _counted(
    judged: Judged[Any], backend: str, policy: Policy, timings: Mapping[str, float]
) -> Outcome:
    search, candidates, verdict = judged.search, judged.window, judged.verdict
    hits = verdict.ranking.hits
    return Outcome(
        status=verdict.status,
        reason=verdict.reason or search.note,
        error=verdict.error,
        backend=backend,
        reranker=verdict.reranker,
        mode=search.mode,
        fused_by=judged.first.fused_by,
        k=search.k,
        seen=len(candidates),
        scored=sum(h.relevance is not None for h in hits),
        empty=sum(not c.text for c in candidates),
        truncated=verdict.truncated,
        passages=verdict.passages,
        failed=verdict.failed,
        billed=verdict.billed,
        cost=policy.cost.of(verdict.billed),
        timings=timings,
        relevance={h.candidate.id: h.relevance for h in hits if h.relevance is not None},
        raw={h.candidate.id: h.raw for h in hits if h.raw is not None},
        first_pass_score={c.id: c.score for c in candidates},
    )


def _change(one: Ranking, other: Ranking) -> float:
    """The share of hits of ``one`` that ``other`` has not."""
    found = {hit.candidate.position for hit in other.hits}
    missing = sum(hit.candidate.position not in found for hit in one.hits)
    return missing / len(one.hits) if one.hits else 0.0


def _explained(judged: Judged[Any], page: Ranking) -> tuple[ExplainedHit, ...]:
    first_rank = {c.position: n for n, c in enumerate(judged.window, start=1)}
    branches = {c.position: c.branches for c in judged.window}
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
        )
        for rank, hit in enumerate(page.hits, start=judged.search.offset + 1)
    )
