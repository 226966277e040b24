"""Run judged queries through a connector; each search gives the first-pass and reranked order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.connector import EvaluatedConnector
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.model import Candidate, HitId, Scores
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.request import Mode

MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")


@dataclass(slots=True)
class Run:
    """The results of all queries in one stage, such as ``hybrid+rerank``.

    ``ranked`` holds the document ids by query, best first. ``latencies_ms`` has one number per
    query, ``timings`` its milliseconds by stage (see `Outcome`). ``relevance`` (0 to 1) is given
    by query and document; a first-pass stage has the database's ``scores`` instead. From the
    ``scored`` candidates of a reranked stage follows the order under any other blend.
    ``truncated`` counts documents that the reranker read only in part.
    ``cached`` means that scores came from a cache, so that the latencies say nothing about the
    reranker.
    """

    ranked: dict[str, list[str]] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    timings: list[Mapping[str, float]] = field(default_factory=list)
    relevance: dict[str, dict[str, float]] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    truncated: int = 0
    cached: bool = False

    def add(self, query_id: str, documents: list[str], milliseconds: float) -> None:
        """Record the result of one query."""
        self.ranked[query_id] = documents
        self.latencies_ms.append(milliseconds)

    @property
    def p50(self) -> float | None:
        """The median latency in milliseconds; None if scores came from a cache."""
        return None if self.cached else metrics.latency(self.latencies_ms)["p50"]


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
    # The branches of a hit, if they decide its place: no other request is sent than by a search.
    explain = rerank and connector.pipeline.policy.branch_evidence
    for mode in modes:
        raw, reranked = Run(), Run()
        runs |= {mode: raw, f"{mode}+rerank": reranked} if rerank else {mode: raw}
        _warm_up(connector, next(iter(queries.values())), mode, rerank)
        for query_id, text in queries.items():
            with observe() as outcomes:
                response = connector.search(
                    text, mode=mode, k=k, limit=k, depth=depth, rerank=rerank, explain=explain
                )
            [outcome] = outcomes
            hits = connector.candidates(response)
            ids = {hit.id: str(hit.doc_id) for hit in hits}
            scored = _scored(text, hits, ids, outcome)
            timings = outcome.timings
            first_pass: dict[str, float] = {}
            for candidate in scored.candidates:
                first_pass.setdefault(ids[candidate.id], candidate.score)
            raw.add(query_id, list(first_pass), timings.get("embed", 0.0) + timings["first_pass"])
            raw.scores[query_id] = first_pass
            reranked.scored[query_id] = scored
            reranked.add(query_id, list(ids.values()), timings["total"])
            reranked.timings.append(timings)
            reranked.truncated += outcome.truncated
            reranked.relevance[query_id] = {
                ids[hit_id]: value for hit_id, value in outcome.relevance.items() if hit_id in ids
            }
            on_progress()
    return runs


def _scored(
    query: str, hits: Sequence[Candidate], names: Mapping[HitId, str], outcome: Outcome
) -> Scored:
    """Return what the order of a search was computed from."""
    found = {hit.id: hit for hit in hits}
    branches = {hit.id: hit.branches for hit in outcome.hits}
    order = (i for i, _ in by_score(outcome.first_pass_score.items()) if i in found)
    candidates = [
        Candidate(n, i, found[i].text, outcome.first_pass_score[i], branches=branches.get(i, {}))
        for n, i in enumerate(order)
    ]
    scores = Scores(
        [outcome.raw.get(candidate.id) for candidate in candidates],
        [outcome.relevance.get(candidate.id) for candidate in candidates],
        calibrated="uncalibrated" not in outcome.notes,
    )
    return Scored(query, candidates, scores, names)


def _warm_up(connector: EvaluatedConnector, query: str, mode: Mode, rerank: bool) -> None:
    """Load lazily loaded models, with another text than the first query's: no cache may know it."""
    connector.search(f"{query} {query}", mode=mode, k=1, limit=1, rerank=rerank)
