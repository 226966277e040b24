"""Collect what tuning needs: one deep first pass per query and the scores of its hits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import NoneSettings, RerankerSettings, Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import metrics, runs
from vecdb_rerank.evaluation.cache import CachedReranker, score_key
from vecdb_rerank.evaluation.connector import (
    EvaluatedConnector,
    Noted,
    Progress,
    evaluated_connector,
)
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.queries import PLAIN
from vecdb_rerank.evaluation.scored import boosted
from vecdb_rerank.evaluation.scoring import all_scores
from vecdb_rerank.evaluation.tuning.collected import Collected, Scorer, Searched
from vecdb_rerank.evaluation.tuning.grid import MAX_DEPTH, Setting, first_passes
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import BranchHit, HitId, Scores
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.ranking.fusion import branch, tie_breaker
from vecdb_rerank.request import Fusion
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.search.arguments import make_chain


def sections(settings: Settings, max_lengths: Sequence[int] = ()) -> list[RerankerSettings]:
    """Return the rerankers to choose from: the configured ones, also with each of ``max_lengths``.

    Raises `ConfigurationError` if there is none, or if one has no setting ``max_length``.
    """
    found = [section for section in settings.chain if section.type != "none"]
    if not found:
        raise ConfigurationError(
            "reranker.type", "must not be 'none'; set it to 'onnx', 'http' or 'cohere'"
        )
    if not max_lengths:
        return found
    for section in found:
        if not hasattr(section, "max_length"):
            raise ConfigurationError(
                "--max-length", f"the reranker {section.type!r} has no setting max_length"
            )
    cut = [s.model_copy(update={"max_length": n}) for s in found for n in max_lengths]
    return [*found, *(section for section in cut if section not in found)]


def collect(
    settings: Settings,
    dataset: Dataset,
    grid: Sequence[Setting],
    rerankers: Sequence[RerankerSettings],
    *,
    scores: Path | None = None,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
) -> Collected:
    """Search every query once, and score all hits that any setting of ``grid`` reranks.

    Scores are kept in the file ``scores`` (default: in the user's cache folder), so that an
    interrupted run can continue.

    Raises `ConfigurationError` if the configured search cannot be tuned, and what the reranker
    raises.
    """
    if settings.search.mode != "hybrid":
        raise ConfigurationError(
            "search.mode", f"must be 'hybrid' for tuning, got {settings.search.mode!r}"
        )
    if settings.search.fusion.method == "dbsf":
        raise ConfigurationError(
            "search.fusion.method", "must not be 'dbsf', which only the server computes; use 'rrf'"
        )
    if not settings.policy.branch_evidence:
        raise ConfigurationError("policy.branch_evidence", "must be true for tuning")
    without = settings.model_copy(update={"reranker": NoneSettings(), "rerankers": ()})
    wanted = first_passes(grid)
    found: list[Searched] = []
    times: list[float] = []
    with (
        _score_collectors(rerankers, settings.policy, scores) as collectors,
        evaluated_connector(without, dataset, on_progress, on_note=on_note) as connector,
    ):
        if settings.policy.after:  # the stages are part of a reranked search
            chain = make_chain(_Equal())
            connector.pipeline = replace(connector.pipeline, chain=chain)
        connector.search("warm up", k=1, limit=1)  # loads lazily loaded models
        for done, (query_id, text) in enumerate(dataset.queries.items(), start=1):
            searched, milliseconds = _search(connector, dataset, query_id, wanted)
            asked = dataset.instruction(query_id, settings.search)
            scored = tuple(one.scores(text, searched.texts, asked) for one in collectors)
            calibrated = tuple(collector.scorer.calibrated for collector in collectors)
            found.append(replace(searched, scores=scored, calibrated=calibrated))
            times.append(milliseconds)
            on_progress("searching and scoring", done, len(dataset.queries))
        for collector in collectors:
            collector.finish(text, list(searched.texts.values()))
    scorers = tuple(collector.scorer for collector in collectors)
    first_pass_ms = metrics.latency(times)["p50"]
    return Collected(
        dataset.name, dataset.qrels, tuple(found), scorers, first_pass_ms, settings.policy
    )


def _search(
    connector: EvaluatedConnector,
    dataset: Dataset,
    query_id: str,
    wanted: Mapping[tuple[int, Fusion], int],
) -> tuple[Searched, float]:
    """Search one query; return it with the texts to score, and the milliseconds it took."""
    both, text = 2 * MAX_DEPTH, dataset.queries[query_id]
    with observe() as outcomes:
        response = runs.search(
            connector,
            query_id,
            text,
            dataset.info.get(query_id, PLAIN),
            mode="hybrid",
            k=both,
            limit=both,
            depth=MAX_DEPTH,
            rerank=bool(connector.pipeline.policy.after),
            explain=True,
        )
    [outcome] = outcomes
    candidates = {candidate.id: candidate for candidate in connector.candidates(response)}
    found = connector.store.branches
    branches: dict[str, Mapping[HitId, BranchHit]] = {
        name: {hit.id: hit.branches[name] for hit in outcome.hits if name in hit.branches}
        if len(found) > 1
        else branch(outcome.first_pass_score.items())
        for name in found
    }
    names = dataset.ids.of_hits(list(candidates.values()))
    searched = Searched(query_id, text, branches, names)
    ids = {
        candidate.id
        for (depth, fused_by), k in wanted.items()
        for candidate in searched.first_pass(depth, fused_by, k)
    }
    texts = {i: text for i in sorted(ids, key=tie_breaker) if (text := candidates[i].text)}
    milliseconds = outcome.timings.get("embed", 0.0) + outcome.timings["first_pass"]
    if not connector.pipeline.policy.after:
        return replace(searched, texts=texts), milliseconds
    payloads = {i: candidates[i].payload for i in ids}
    return replace(
        searched, texts=texts, payloads=payloads, matching=boosted(outcome.hits)
    ), milliseconds


class _Equal(BaseReranker):
    """Scores all texts alike."""

    keeps_deadline = True
    calibration = Calibration()

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002
        return Scores.from_relevance([0.5] * len(documents))


class _ScoreCollector:
    """Collects the scores of one reranker, and measures it."""

    def __init__(self, section: RerankerSettings, policy: Policy, file: Path | None) -> None:
        reranker = adapt(factory.component("rerankers", section))
        if reranker.listwise:
            raise ConfigurationError(
                "reranker.type",
                f"must not be {section.type!r}, whose scores depend on k; "
                "tune one of the rerankers that it uses",
            )
        self._cached = CachedReranker(reranker, score_key(section), file)
        self._guarded = GuardedReranker(self._cached)
        self._uncached = GuardedReranker(reranker)
        self._policy = policy
        self._loaded = reranker.bills  # a local model is loaded by the first call
        price = policy.cost.prices.get(reranker.name, 0.0)
        self.scorer = Scorer(section, reranker.name, price=price)

    def scores(
        self, query: str, texts: Mapping[HitId, str], instruction: str | None
    ) -> dict[HitId, tuple[float, float]]:
        """Return raw score and relevance by hit; equal texts are scored once."""
        distinct = list(dict.fromkeys(texts.values()))
        if not distinct:
            return {}
        before, started = self._cached.found, time.perf_counter()
        scores = self._scores(self._guarded, query, distinct, instruction)
        known = dict(zip(distinct, scores, strict=True))
        if self._cached.found == before:
            if self._loaded:
                self._record(len(distinct), started)
            self._loaded = True
        return {i: known[text] for i, text in texts.items()}

    def finish(self, query: str, documents: list[str]) -> None:
        """Find out price and speed; score documents again if all came from the cache, for free."""
        reranker = self._uncached.reranker
        if reranker.bills:
            self.scorer.units = lambda k: reranker.predicted_units(query, documents[:k])
        elif not self.scorer.documents and documents:
            self._scores(self._uncached, query, documents[:1])  # loads the model
            started = time.perf_counter()
            self._scores(self._uncached, query, documents)
            self._record(len(documents), started)

    def close(self) -> None:
        """Close the cache and the reranker."""
        run(self._cached.closing())

    def _scores(
        self,
        guarded: GuardedReranker,
        query: str,
        documents: Sequence[str],
        instruction: str | None = None,
    ) -> list[tuple[float, float]]:
        """Return raw score and relevance of all documents, without a deadline."""
        scores = all_scores(guarded, query, documents, self._policy, instruction)
        self.scorer.calibrated = scores.calibrated
        return [
            (raw, relevance)
            for raw, relevance in zip(scores.raw, scores.relevance, strict=True)
            if raw is not None and relevance is not None
        ]

    def _record(self, documents: int, started: float) -> None:
        self.scorer.documents += documents
        self.scorer.milliseconds += (time.perf_counter() - started) * 1e3


@contextmanager
def _score_collectors(
    rerankers: Sequence[RerankerSettings], policy: Policy, file: Path | None
) -> Iterator[list[_ScoreCollector]]:
    with ExitStack() as stack:
        collectors = []
        for section in rerankers:
            collectors.append(_ScoreCollector(section, policy, file))
            stack.callback(collectors[-1].close)
        yield collectors
