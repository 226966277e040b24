"""The dear part of tuning: one deep first pass for each query, and the scores it may need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import NoneSettings, RerankerSettings, Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.cache import CachedReranker, score_key
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.evaluate import Progress, filled
from vecdb_rerank.evaluation.scoring import all_scores
from vecdb_rerank.evaluation.tuning.grid import DEEPEST, Setting, first_passes
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import BranchHit, Candidate, HitId, Scores
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.ranking import exact_terms, fusion, ordering, skip_rules
from vecdb_rerank.request import BRANCHES, Fusion
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.guarded import GuardedReranker


@dataclass(frozen=True, slots=True)
class Searched:
    """One query with all that both branches found, and what the rerankers say of it.

    ``branches`` are those of (bm25, dense), `DEEPEST` hits each. ``names`` are the documents' own
    ids, ``texts`` what any setting gives a reranker to read. ``scores`` has a mapping a reranker:
    raw score and relevance (0 to 1) by hit; ``calibrated`` says of each whether the relevance is
    on the common scale.
    """

    query_id: str
    query: str
    branches: tuple[Mapping[HitId, BranchHit], ...]
    names: Mapping[HitId, str]
    texts: Mapping[HitId, str] = field(default_factory=dict, repr=False)
    scores: tuple[Mapping[HitId, tuple[float, float]], ...] = ()
    calibrated: tuple[bool, ...] = ()

    def first_pass(self, depth: int, how: Fusion, k: int) -> list[Candidate]:
        """The ``k`` hits that a search with these settings would bring, in its order."""
        cut = [{i: b for i, b in hits.items() if b.rank <= depth} for hits in self.branches]
        return [
            Candidate(
                n,
                hit_id,
                self.texts.get(hit_id, ""),
                score,
                branches={
                    name: hits[hit_id]
                    for name, hits in zip(BRANCHES, cut, strict=True)
                    if hit_id in hits
                },
            )
            for n, (hit_id, score) in enumerate(fusion.fuse(cut, how)[:k])
        ]

    def reranked(
        self, candidates: Sequence[Candidate], setting: Setting, policy: Policy
    ) -> list[str]:
        """Document ids in the final order, as a search under ``policy`` has it."""
        if not policy.skip.shadow and skip_rules.rule(self.query, candidates, policy.skip):
            return [self.names[candidate.id] for candidate in candidates]
        known = self.scores[setting.reranker]
        pairs = [known.get(c.id, (None, None)) for c in candidates]
        scores = Scores(
            [raw for raw, _ in pairs],
            [value for _, value in pairs],
            calibrated=self.calibrated[setting.reranker],
        )
        ranking = ordering.rerank(candidates, scores, setting.blend)
        if policy.exact_terms is not None:
            ranking = exact_terms.protect(ranking, self.query, policy.exact_terms)
        return [self.names[hit.candidate.id] for hit in ranking.hits]


@dataclass(slots=True)
class Scorer:
    """A reranker that was collected, and what it takes.

    ``documents`` were scored in ``milliseconds``, not counting what came from the cache. ``units``
    is what the service would bill for a query with so many documents, ``price`` that of a unit.
    """

    section: RerankerSettings
    name: str
    calibrated: bool = False
    documents: int = 0
    milliseconds: float = 0.0
    units: Callable[[int], float] | None = field(default=None, repr=False)
    price: float = 0.0

    def latency_ms(self, k: int) -> float | None:
        """What scoring ``k`` documents takes; None where it was not measured."""
        return self.milliseconds / self.documents * k if self.documents else None

    def cost(self, k: int) -> float | None:
        """The price of a query with ``k`` documents; None where nothing is billed."""
        return None if self.units is None else self.units(k) * self.price


@dataclass(frozen=True, slots=True)
class Collected:
    """What settings are tried on; ``first_pass_ms`` is the median of embedding and first pass."""

    dataset: str
    qrels: Qrels
    queries: tuple[Searched, ...]
    scorers: tuple[Scorer, ...]
    first_pass_ms: float
    policy: Policy = field(default_factory=Policy)

    def of(self, chosen: Sequence[str]) -> Collected:
        """The same with some of its queries."""
        kept = set(chosen)
        return replace(self, queries=tuple(q for q in self.queries if q.query_id in kept))

    def latency_ms(self, setting: Setting) -> float | None:
        """What a search would take, about; None where the reranker was not timed."""
        scoring = self.scorers[setting.reranker].latency_ms(setting.k)
        return None if scoring is None else self.first_pass_ms + scoring

    def cost(self, setting: Setting) -> float | None:
        """What a search would cost, in the currency of the prices; None where nothing is billed."""
        return self.scorers[setting.reranker].cost(setting.k)


def sections(settings: Settings, max_lengths: Sequence[int] = ()) -> list[RerankerSettings]:
    """The rerankers to choose from: those configured, each with each of ``max_lengths``.

    Raises `ConfigurationError` where there is none, or one that takes no ``max_length``.
    """
    found = [section for section in settings.chain if section.type != "none"]
    if not found:
        raise ConfigurationError(
            "reranker.type", "'none' leaves nothing to tune; set it to 'onnx', 'http' or 'cohere'"
        )
    if not max_lengths:
        return found
    for section in found:
        if not hasattr(section, "max_length"):
            raise ConfigurationError("--max-length", f"the reranker {section.type!r} takes none")
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
) -> Collected:
    """Search every query once, and score what any setting of ``grid`` would have scored.

    Scores are kept in the file ``scores`` (default: in the user's cache), so that what was
    interrupted goes on where it was. Raises what the reranker raises.
    """
    if settings.search.mode != "hybrid":
        raise ConfigurationError(
            "search.mode", f"{settings.search.mode!r}; tuning is for hybrid searches"
        )
    if settings.search.fusion.method == "dbsf":
        raise ConfigurationError(
            "search.fusion.method", "'dbsf' is known to the server alone; tune from 'rrf'"
        )
    if not settings.policy.branch_evidence:
        raise ConfigurationError(
            "policy.branch_evidence", "false; tuning is for searches that have it: set it to true"
        )
    without = settings.model_copy(update={"reranker": NoneSettings(), "rerankers": ()})
    wanted = first_passes(grid)
    found: list[Searched] = []
    times: list[float] = []
    with (
        _asked(rerankers, settings.policy, scores) as asked,
        filled(without, dataset, on_progress) as connector,
    ):
        connector.search("warm up", k=1, limit=1)  # loads what loads lazily
        for done, (query_id, text) in enumerate(dataset.queries.items(), start=1):
            searched, texts, took = _search(connector, query_id, text, wanted)
            scored = tuple(one.scores(text, texts) for one in asked)
            found.append(
                replace(
                    searched,
                    texts=texts,
                    scores=scored,
                    calibrated=tuple(one.scorer.calibrated for one in asked),
                )
            )
            times.append(took)
            on_progress("searching and scoring", done, len(dataset.queries))
        for one in asked:
            one.finish(text, list(texts.values()))
    scorers = tuple(one.scorer for one in asked)
    first_pass_ms = metrics.latency(times)["p50"]
    return Collected(
        dataset.name, dataset.qrels, tuple(found), scorers, first_pass_ms, settings.policy
    )


def _search(
    connector: Any, query_id: str, text: str, wanted: Mapping[tuple[int, Fusion], int]
) -> tuple[Searched, dict[HitId, str], float]:
    """One query's branches, the texts that are to be scored, and the milliseconds it took."""
    both = 2 * DEEPEST
    with observe() as outcomes:
        response = connector.search(
            text, mode="hybrid", k=both, limit=both, depth=DEEPEST, rerank=False, explain=True
        )
    [outcome] = outcomes
    candidates = {candidate.id: candidate for candidate in connector.candidates(response)}
    branches = tuple(
        {hit.id: hit.branches[name] for hit in outcome.hits if name in hit.branches}
        for name in BRANCHES
    )
    searched = Searched(query_id, text, branches, {i: str(c.doc_id) for i, c in candidates.items()})
    ids = {
        candidate.id
        for (depth, how), k in wanted.items()
        for candidate in searched.first_pass(depth, how, k)
    }
    texts = {i: candidates[i].text for i in sorted(ids, key=fusion.tie_breaker)}
    took = outcome.timings.get("embed", 0.0) + outcome.timings["first_pass"]
    return searched, {i: t for i, t in texts.items() if t}, took


class _Asked:
    """A reranker while its scores are collected."""

    def __init__(self, section: RerankerSettings, policy: Policy, file: Path | None) -> None:
        reranker = adapt(factory.component("rerankers", section))
        if reranker.listwise:
            raise ConfigurationError(
                "reranker.type",
                f"what {section.type!r} scores depends on k, which is to be chosen: "
                "tune a reranker that it is made of",
            )
        self._cached = CachedReranker(reranker, score_key(section.model_dump()), file)
        self._guard = GuardedReranker(self._cached)
        self._plain = GuardedReranker(reranker)
        self._policy = policy
        price = policy.cost.prices.get(reranker.name, 0.0)
        self.scorer = Scorer(section, reranker.name, price=price)

    def scores(self, query: str, texts: Mapping[HitId, str]) -> dict[HitId, tuple[float, float]]:
        """Raw score and relevance by hit; equal texts are scored once."""
        distinct = list(dict.fromkeys(texts.values()))
        if not distinct:
            return {}
        before, started = self._cached.found, time.perf_counter()
        known = dict(zip(distinct, self._scores(self._guard, query, distinct), strict=True))
        if self._cached.found == before:
            self._timed(len(distinct), started)
        return {i: known[text] for i, text in texts.items()}

    def finish(self, query: str, documents: list[str]) -> None:
        """Learn price and pace; where all scores were known, by scoring some anew if it is free."""
        reranker = self._plain.reranker
        if reranker.bills:
            self.scorer.units = lambda k: reranker.predicted_units(query, documents[:k])
        elif not self.scorer.documents and documents:
            self._scores(self._plain, query, documents[:1])  # loads the model
            started = time.perf_counter()
            self._scores(self._plain, query, documents)
            self._timed(len(documents), started)

    def close(self) -> None:
        """Close the cache and the reranker."""
        run(self._cached.closing())

    def _timed(self, documents: int, started: float) -> None:
        self.scorer.documents += documents
        self.scorer.milliseconds += (time.perf_counter() - started) * 1e3

    def _scores(
        self, guard: GuardedReranker, query: str, documents: Sequence[str]
    ) -> list[tuple[float, float]]:
        """Raw score and relevance of all documents, however long it takes."""
        scores = all_scores(guard, query, documents, self._policy)
        self.scorer.calibrated = scores.calibrated
        return [
            (raw, relevance)
            for raw, relevance in zip(scores.raw, scores.relevance, strict=True)
            if raw is not None and relevance is not None
        ]


@contextmanager
def _asked(
    rerankers: Sequence[RerankerSettings], policy: Policy, file: Path | None
) -> Iterator[list[_Asked]]:
    with ExitStack() as opened:
        asked = []
        for section in rerankers:
            asked.append(_Asked(section, policy, file))
            opened.callback(asked[-1].close)
        yield asked
