"""What tuning collects once per query, and the orders that settings make of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vecdb_rerank.config.settings import RerankerSettings
from vecdb_rerank.evaluation.datasets import Qrels
from vecdb_rerank.evaluation.document_ids import distinct
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.evaluation.tuning.grid import Setting
from vecdb_rerank.model import BranchHit, Candidate, HitId, Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.ranking import branch_weights, fusion, skip_rules
from vecdb_rerank.request import Fusion


@dataclass(frozen=True, slots=True)
class Searched:
    """One query with the hits of both branches and the rerankers' scores.

    ``branches`` are those of the collection by name, bm25 before dense, with at least `MAX_DEPTH`
    hits each, if so many are found. ``names`` are the documents' own ids
    by hit, ``texts`` the texts that a reranker reads under any setting. ``payloads`` and
    ``matching`` are what the stages of `Policy.after` need. ``scores`` has one mapping
    per reranker, from hits to raw score and relevance (0 to 1); ``calibrated`` says for each
    reranker whether its relevance is on the common scale.
    """

    query_id: str
    query: str
    branches: Mapping[str, Mapping[HitId, BranchHit]]
    names: Mapping[HitId, str]
    texts: Mapping[HitId, str] = field(default_factory=dict, repr=False)
    payloads: Mapping[HitId, Mapping[str, object]] = field(default_factory=dict, repr=False)
    matching: Sequence[Collection[HitId]] = ()
    scores: tuple[Mapping[HitId, tuple[float, float]], ...] = ()
    calibrated: tuple[bool, ...] = ()

    def first_pass(self, depth: int, fused_by: Fusion, k: int) -> list[Candidate]:
        """Return the first pass of a search with these settings: ``k`` hits in order.

        A branch alone is not fused: its own scores count.
        """
        cut = self._cut(depth)
        if len(cut) > 1:
            found = fusion.fuse([*cut.values()], fused_by)
        else:
            found = fusion.by_score((i, b.score) for hits in cut.values() for i, b in hits.items())
        return [
            Candidate(
                n,
                hit_id,
                self.texts.get(hit_id, ""),
                score,
                self.payloads.get(hit_id, {}),
                branches={name: hits[hit_id] for name, hits in cut.items() if hit_id in hits},
            )
            for n, (hit_id, score) in enumerate(found[:k])
        ]

    def pairs(self, setting: Setting) -> int:
        """Return how many candidates a search with this setting scores."""
        return min(setting.k, len({i for hits in self._cut(setting.depth).values() for i in hits}))

    def _cut(self, depth: int) -> dict[str, Mapping[HitId, BranchHit]]:
        """Return the first ``depth`` hits of each branch."""
        return {
            name: {i: b for i, b in hits.items() if b.rank <= depth}
            for name, hits in self.branches.items()
        }

    def reranked(
        self, candidates: Sequence[Candidate], setting: Setting, policy: Policy
    ) -> list[str]:
        """Return document ids in the order of a search with these settings under ``policy``.

        Each document comes once, at the rank of its best chunk.
        """
        if not policy.skip.shadow and skip_rules.rule(self.query, candidates, policy.skip):
            return distinct(self.names[candidate.id] for candidate in candidates)
        return self.scored(candidates, setting).order(setting.blend, policy)

    def scored(self, candidates: Sequence[Candidate], setting: Setting) -> Scored:
        """Return the candidates with the scores of the setting's reranker."""
        reranker = setting.reranker
        pairs = [self.scores[reranker].get(c.id, (None, None)) for c in candidates]
        scores = Scores(
            [raw for raw, _ in pairs],
            [relevance for _, relevance in pairs],
            calibrated=self.calibrated[reranker],
        )
        hits = self._cut(setting.depth)
        weights = branch_weights.decide(hits, setting.fusion) if len(hits) > 1 else {}
        return Scored(self.query, candidates, scores, self.names, weights, self.matching)


@dataclass(slots=True)
class Scorer:
    """A reranker whose scores were collected, with its speed and price.

    ``documents`` were scored in ``milliseconds``, without those in the cache. ``units`` predicts
    the units billed for a query with that many documents; ``price`` is the price of a unit.
    """

    section: RerankerSettings
    name: str
    calibrated: bool = False
    documents: int = 0
    milliseconds: float = 0.0
    units: Callable[[int], float] | None = field(default=None, repr=False)
    price: float = 0.0

    def latency_ms(self, count: float) -> float | None:
        """Return the milliseconds that ``count`` documents take; None if not measured."""
        return self.milliseconds / self.documents * count if self.documents else None

    def cost(self, k: int) -> float | None:
        """Return the price of a query with ``k`` documents; None if nothing is billed."""
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

    def only(self, query_ids: Sequence[str]) -> Collected:
        """Return a copy with some of the queries."""
        kept = set(query_ids)
        return replace(self, queries=tuple(q for q in self.queries if q.query_id in kept))

    def latency_ms(self, setting: Setting) -> float | None:
        """Return a search's approximate milliseconds; None if the reranker was not timed."""
        scoring = self.scorers[setting.reranker].latency_ms(self._pairs(setting))
        return None if scoring is None else self.first_pass_ms + scoring

    def cost(self, setting: Setting) -> float | None:
        """Return a search's cost in the currency of the prices; None if nothing is billed."""
        return self.scorers[setting.reranker].cost(round(self._pairs(setting)))

    def _pairs(self, setting: Setting) -> float:
        """Return the mean number of candidates that a search scores."""
        return statistics.fmean([query.pairs(setting) for query in self.queries] or [setting.k])
