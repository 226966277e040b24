"""Run judged queries through a connector; each search gives the first-pass and reranked order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.evaluation.connector import EvaluatedConnector
from vecdb_rerank.outcome import observe
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.request import Mode

MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")


@dataclass(slots=True)
class Run:
    """The results of all queries in one stage, such as ``hybrid+rerank``.

    ``ranked`` holds the document ids by query, best first. ``latencies_ms`` has one number per
    query, ``timings`` its milliseconds by stage (see `Outcome`). ``relevance`` (0 to 1) is given
    by query and document. ``truncated`` counts documents that the reranker read only in part.
    ``cached`` means that scores came from a cache, so that the latencies say nothing about the
    reranker.
    """

    ranked: dict[str, list[str]] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    timings: list[Mapping[str, float]] = field(default_factory=list)
    relevance: dict[str, dict[str, float]] = field(default_factory=dict)
    truncated: int = 0
    cached: bool = False

    def add(self, query_id: str, documents: list[str], milliseconds: float) -> None:
        """Record the result of one query."""
        self.ranked[query_id] = documents
        self.latencies_ms.append(milliseconds)


def run(
    connector: EvaluatedConnector,
    queries: Mapping[str, str],
    *,
    modes: Sequence[Mode] = MODES,
    k: int = 50,
    depth: int | None = None,
    rerank: bool = True,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, Run]:
    """Search every query in every mode; return the runs by stage (``hybrid``, ``hybrid+rerank``).

    Both stages of a mode come from the same search, so that only the reranking differs. The time
    of the first stage is that of embedding and first pass. With ``rerank=False``, there are no
    reranked stages. ``on_progress`` is called after each search.
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
            ids = {hit.id: str(hit.doc_id) for hit in connector.candidates(response)}
            first_pass = by_score(outcome.first_pass_score.items())
            timings = outcome.timings
            raw.add(
                query_id,
                [ids[hit_id] for hit_id, _ in first_pass if hit_id in ids],
                timings.get("embed", 0.0) + timings["first_pass"],
            )
            reranked.add(query_id, list(ids.values()), timings["total"])
            reranked.timings.append(timings)
            reranked.truncated += outcome.truncated
            reranked.relevance[query_id] = {
                ids[hit_id]: value for hit_id, value in outcome.relevance.items() if hit_id in ids
            }
            on_progress()
    return runs


def _warm_up(connector: EvaluatedConnector, query: str, mode: Mode, rerank: bool) -> None:
    """Load lazily loaded models, with another text than the first query's: no cache may know it."""
    connector.search(f"{query} {query}", mode=mode, k=1, limit=1, rerank=rerank)
