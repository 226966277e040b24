"""Running judged queries through a connector, each mode raw and reranked from one search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.outcome import observe
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.request import Mode

MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")


@dataclass(slots=True)
class Run:
    """One stage's answers: document ids by query, best first, and milliseconds per query.

    ``timings`` are those of each query's `Outcome`. ``cached`` says that scores came from a
    cache, so that the times of the reranker are not its own.
    """

    ranked: dict[str, list[str]] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    timings: list[Mapping[str, float]] = field(default_factory=list)
    relevance: dict[str, dict[str, float]] = field(default_factory=dict)
    truncated: int = 0
    cached: bool = False

    def add(self, query_id: str, documents: list[str], milliseconds: float) -> None:
        """Record one query's answer."""
        self.ranked[query_id] = documents
        self.latencies_ms.append(milliseconds)


def run(
    connector: Any,
    queries: Mapping[str, str],
    *,
    modes: Sequence[Mode] = MODES,
    k: int = 50,
    depth: int | None = None,
    rerank: bool = True,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, Run]:
    """Search every query in every mode; runs by stage, ``hybrid`` and ``hybrid+rerank`` say.

    Both stages of a mode come from the same first pass, so that they differ by the reranking
    alone; the raw stage's time is that of embedding and first pass. ``rerank=False`` leaves the
    reranked stages out.
    """
    runs: dict[str, Run] = {}
    for mode in modes:
        raw, reranked = Run(), Run()
        runs |= {mode: raw, f"{mode}+rerank": reranked} if rerank else {mode: raw}
        _warm_up(connector, next(iter(queries.values())), mode, rerank)
        for query_id, text in queries.items():
            with observe() as outcomes:
                response = connector.search(
                    text, mode=mode, k=k, limit=k, depth=depth, rerank=rerank
                )
            [outcome] = outcomes
            final = connector.candidates(response)
            names = {candidate.id: str(candidate.doc_id) for candidate in final}
            first = [names[i] for i, _ in by_score(outcome.first_pass_score.items()) if i in names]
            timings = outcome.timings
            raw.add(query_id, first, timings.get("embed", 0.0) + timings["first_pass"])
            reranked.add(query_id, list(names.values()), timings["total"])
            reranked.timings.append(timings)
            reranked.truncated += outcome.truncated
            reranked.relevance[query_id] = {
                names[i]: relevance for i, relevance in outcome.relevance.items() if i in names
            }
            on_progress()
    return runs


def _warm_up(connector: Any, query: str, mode: Mode, rerank: bool) -> None:
    """Load what loads lazily; by another text, so that no cache has the first query's answer."""
    connector.search(f"{query} {query}", mode=mode, k=1, limit=1, rerank=rerank)
