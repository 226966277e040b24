"""Run judged queries through a connector; each search gives the first-pass and reranked order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

from vecdb_rerank.errors import ConfigurationError, FirstPassError
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.connector import EvaluatedConnector
from vecdb_rerank.evaluation.document_ids import OWN, DocumentIds, distinct
from vecdb_rerank.evaluation.queries import PLAIN, QueryInfo
from vecdb_rerank.evaluation.scored import Scored, boosted
from vecdb_rerank.model import Candidate, HitId, Scores
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.request import Mode
from vecdb_rerank.search.arguments import CommonSearchOptions

MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")


@dataclass(slots=True)
class Run:
    """The results of all queries in one stage, such as ``hybrid+rerank``.

    ``ranked`` holds the document ids by query, best first. ``chunks`` has the document of each hit
    instead, for queries in which a document has several. ``texts`` holds the texts of documents by
    id, or of their best chunks. ``latencies_ms`` has one number per query, ``timings`` its
    milliseconds by stage (see `Outcome`). ``relevance`` (0 to 1) is given by query and document; a
    first-pass stage has the database's ``scores`` instead. From the ``scored`` candidates of a
    reranked stage follows the order under any other blend. ``statuses`` counts its outcomes, and
    ``cost`` is the price of all its searches.
    ``pairs`` counts the documents that the reranker scored, one number per query, ``truncated``
    those that it read only in part.
    ``cached`` means that scores came from a cache, so that the latencies say nothing about the
    reranker.
    """

    ranked: dict[str, list[str]] = field(default_factory=dict)
    chunks: dict[str, list[str]] = field(default_factory=dict, repr=False)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    latencies_ms: list[float] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    timings: list[Mapping[str, float]] = field(default_factory=list)
    relevance: dict[str, dict[str, float]] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    cost: float = 0.0
    truncated: int = 0
    cached: bool = False

    def add(self, query_id: str, documents: list[str], milliseconds: float) -> None:
        """Record the result of one query, with the document of each hit."""
        self.ranked[query_id] = distinct(documents)
        if len(self.ranked[query_id]) < len(documents):
            self.chunks[query_id] = documents
        self.latencies_ms.append(milliseconds)

    @property
    def p50(self) -> float | None:
        """The median latency in milliseconds; None if scores came from a cache."""
        return None if self.cached else metrics.latency(self.latencies_ms)["p50"]

    @property
    def by_hit(self) -> dict[str, list[str]]:
        """The document of each hit by query, best first: what depends on the depth of a search."""
        return {**self.ranked, **self.chunks}


def run(
    connector: EvaluatedConnector,
    queries: Mapping[str, str],
    *,
    modes: Sequence[Mode] = MODES,
    k: int = 50,
    depth: int | None = None,
    rerank: bool = True,
    info: Mapping[str, QueryInfo] | None = None,
    ids: DocumentIds = OWN,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, Run]:
    """Search every query in every mode; return the runs by stage (``hybrid``, ``hybrid+rerank``).

    Both stages of a mode come from the same search, so that only the reranking differs. The time
    of the first stage is that of embedding and first pass. With ``rerank=False``, there are no
    reranked stages. ``info`` has the filters and instructions of single queries, ``ids`` finds the
    documents of hits. ``on_progress`` is called after each search.

    Raises what a search raises, and `ConfigurationError` if ``ids`` does not fit the hits.
    """
    runs: dict[str, Run] = {}
    # The branches of a hit, if they decide its place: no other request is sent than by a search.
    policy = connector.pipeline.policy
    explain = rerank and (policy.branch_evidence or bool(policy.after))
    for mode in modes:
        texts: dict[str, str] = {}
        raw, reranked = Run(texts=texts), Run(texts=texts)
        runs |= {mode: raw, f"{mode}+rerank": reranked} if rerank else {mode: raw}
        _warm_up(connector, next(iter(queries.values())), mode, rerank)
        for query_id, text in queries.items():
            with observe() as outcomes:
                response = search(
                    connector,
                    query_id,
                    text,
                    (info or {}).get(query_id, PLAIN),
                    mode=mode,
                    k=k,
                    limit=k,
                    depth=depth,
                    rerank=rerank,
                    explain=explain,
                )
            [outcome] = outcomes
            hits = connector.candidates(response)
            documents = ids.of_hits(hits)
            for hit in hits:
                texts.setdefault(documents[hit.id], hit.text)
            scored = _scored(text, hits, documents, outcome)
            timings = outcome.timings
            raw.add(
                query_id,
                [documents[candidate.id] for candidate in scored.candidates],
                timings.get("embed", 0.0) + timings["first_pass"],
            )
            raw.scores[query_id] = {}
            for candidate in scored.candidates:  # of a document's chunks, the best comes first
                raw.scores[query_id].setdefault(documents[candidate.id], candidate.score)
            reranked.scored[query_id] = scored
            reranked.pairs.append(outcome.scored)
            reranked.add(query_id, list(documents.values()), timings["total"])
            reranked.timings.append(timings)
            reranked.statuses[outcome.status] += 1
            reranked.cost += outcome.cost
            reranked.truncated += outcome.truncated
            reranked.relevance[query_id] = best_relevance(outcome.relevance, documents)
            on_progress()
    return runs


def _scored(
    query: str, hits: Sequence[Candidate], names: Mapping[HitId, str], outcome: Outcome
) -> Scored:
    """Return what the order of a search was computed from."""
    found = {hit.id: hit for hit in hits}
    branches = {hit.id: hit.branches for hit in outcome.hits}
    estimates = {hit.id: hit.estimate for hit in outcome.hits}
    order = (i for i, _ in by_score(outcome.first_pass_score.items()) if i in found)
    candidates = [
        replace(
            found[i], position=n, score=outcome.first_pass_score[i], branches=branches.get(i, {})
        )
        for n, i in enumerate(order)
    ]
    scores = Scores(
        [outcome.raw.get(candidate.id) for candidate in candidates],
        [outcome.relevance.get(candidate.id) for candidate in candidates],
        calibrated="uncalibrated" not in outcome.notes,
        estimates=[estimates.get(candidate.id) for candidate in candidates],
    )
    matching = boosted(outcome.hits)
    return Scored(query, candidates, scores, names, outcome.branch_weights, matching)


def search(
    connector: EvaluatedConnector,
    query_id: str,
    text: str,
    info: QueryInfo,
    **options: Unpack[CommonSearchOptions],
) -> object:
    """Return the native response of one query; an error about its filter names the query.

    Its instruction is left out if no reranker has a place for one. Raises `FirstPassError` if the
    query was not embedded, too: BM25 alone must not be measured as a hybrid search.
    """
    with observe() as outcomes:
        response = _search(connector, query_id, text, info, options)
    for outcome in outcomes:
        if why := outcome.notes.get("embedder_failed"):
            raise FirstPassError(f"query {query_id}: {why}")
    return response


def _search(
    connector: EvaluatedConnector,
    query_id: str,
    text: str,
    info: QueryInfo,
    options: CommonSearchOptions,
) -> object:
    if info.instruction is not None and follows_instructions(connector):
        options["instruction"] = info.instruction
    if info.filter is None:
        return connector.search(text, **options)
    try:
        return connector.search(text, filter=info.filter, **options)
    except ConfigurationError as error:
        raise ConfigurationError(f"query {query_id}, {error.key}", error.problem) from error
    except FirstPassError as error:
        raise type(error)(f"query {query_id}, which has a filter: {error}") from error


def follows_instructions(connector: EvaluatedConnector) -> bool:
    """Return whether a reranker of ``connector`` has a place for an instruction."""
    chain = connector.pipeline.chain
    return chain is not None and any(one.takes_instruction for one in chain.rerankers)


def best_relevance(
    relevance: Mapping[HitId, float], documents: Mapping[HitId, str]
) -> dict[str, float]:
    """Return the relevance of each document: that of its best chunk."""
    best: dict[str, float] = {}
    for hit_id, value in relevance.items():
        if hit_id in documents:
            document = documents[hit_id]
            best[document] = max(value, best.get(document, value))
    return best


def _warm_up(connector: EvaluatedConnector, query: str, mode: Mode, rerank: bool) -> None:
    """Load lazily loaded models, with another text than the first query's: no cache may know it."""
    connector.search(f"{query} {query}", mode=mode, k=1, limit=1, rerank=rerank)
