"""Compare how well a reranker reads the same documents as plain text, as YAML and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

from vecdb_rerank._checks import at_least
from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.bm25 import bm25_hits
from vecdb_rerank.evaluation.connector import Progress
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.renderings import (
    PLAIN,
    RENDERINGS,
    Fields,
    Renderer,
    parsed_fields,
)
from vecdb_rerank.evaluation.scoring import all_scores
from vecdb_rerank.evaluation.significance import bootstrap, too_few
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.guarded import GuardedReranker


@dataclass(frozen=True, slots=True)
class Row:
    """How well a reranker reads one rendering.

    ``ndcg`` is the mean NDCG@10 (0 to 1), ``change`` its difference from plain text, and
    ``interval`` the 95 % bootstrap interval of the change. ``characters`` is the mean length of a
    document. ``truncated`` counts documents that the model read only in part, if it reports that.
    ``difference`` is the mean distance of a document's relevance from that of its plain text, as a
    share (0 to 1) of the larger one.
    """

    rendering: str
    ndcg: float
    change: float
    interval: tuple[float, float]
    characters: float
    truncated: int
    difference: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row per rendering, plain text first, and what the measurement took.

    ``scored`` counts the documents of all ``calls``, ``billed`` the units that a service charged.
    """

    dataset: str
    documents: int
    queries: int
    k: int
    reranker: str
    rows: tuple[Row, ...]
    calls: int
    scored: int
    billed: float


def compare(
    settings: Settings,
    dataset: Dataset,
    *,
    k: int = 50,
    on_progress: Progress = lambda *_: None,
) -> Comparison:
    """Score every query's candidates in each of `RENDERINGS` with the first reranker.

    A query's candidates are the same in every rendering: up to ``k // 2`` relevant documents and
    other BM25 hits on the plain text, ``k`` in total, in the order of their ids.

    Raises `ConfigurationError` if ``k`` is below 2 or no reranker is configured, and what the
    reranker raises: all documents must be scored.
    """
    at_least("k", k, 2)
    renderer = Renderer(settings.text_fields.max_chars)
    documents = {str(document["_id"]): parsed_fields(document) for document in dataset.corpus}
    with _reranker(settings) as reranker:
        guarded = GuardedReranker(reranker)
        candidates = _candidates(dataset, renderer.plain(documents), k, on_progress)
        questions = [
            _Question(
                dataset.queries[q],
                q,
                {i: documents[i] for i in ids},
                dataset.instruction(q, settings.search),
            )
            for q, ids in candidates.items()
        ]
        readings = _read(guarded, settings.policy, questions, renderer, dataset.qrels, on_progress)
    return Comparison(
        dataset=dataset.name,
        documents=len(documents),
        queries=len(questions),
        k=k,
        reranker=guarded.name,
        rows=tuple(_row(name, reading, readings[PLAIN]) for name, reading in readings.items()),
        calls=len(questions) * len(readings),
        scored=sum(len(reading.relevance) for reading in readings.values()),
        billed=sum(reading.billed for reading in readings.values()),
    )


def conclusion(compared: Comparison) -> str:
    """Return the result in one or two sentences."""
    if warning := too_few(compared.queries):
        return warning
    significant = [row for row in compared.rows if row.beyond_chance]
    if not significant:
        return (
            "No rendering is read better or worse than plain text beyond chance: every interval "
            f"includes 0 ({compared.queries} queries)."
        )
    return " ".join(
        f"{row.rendering} is read {'better' if row.change > 0 else 'worse'} than plain text "
        f"({row.change:+.3f})."
        for row in significant
    )


def _candidates(
    dataset: Dataset, texts: Mapping[str, str], k: int, on_progress: Progress
) -> dict[str, list[str]]:
    """Return the ids of candidates by query, without queries that have none."""
    hits = bm25_hits(texts, dataset.queries, k, on_progress)
    chosen = {q: _choose(dataset.qrels.get(q, {}), hits[q], texts, k) for q in hits}
    if not any(chosen.values()):
        raise ConfigurationError(
            f"{dataset.name}",
            "no query has a candidate; do the ids in qrels.tsv and corpus.jsonl match?",
        )
    return {query_id: ids for query_id, ids in chosen.items() if ids}


def _choose(
    grades: Mapping[str, int], hits: Sequence[str], texts: Mapping[str, str], k: int
) -> list[str]:
    judged = ((i, grade) for i, grade in grades.items() if grade > 0 and i in texts)
    relevant = [str(i) for i, _ in by_score(judged)][: k // 2]
    others = [i for i in hits if grades.get(i, 0) <= 0]
    # In an order without meaning: some models prefer what comes first.
    return sorted([*relevant, *others][:k])


@dataclass(frozen=True, slots=True)
class _Question:
    """A query and its candidates by id."""

    text: str
    query_id: str
    documents: Mapping[str, Fields]
    instruction: str | None = None


@dataclass(slots=True)
class _Reading:
    """The reranker's scores for one rendering, over all queries."""

    ndcg: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    relevance: list[float] = field(default_factory=list)
    truncated: int = 0
    billed: float = 0.0

    def add(self, texts: Sequence[str], scores: Scores, ndcg: float) -> None:
        """Record the scores of one query."""
        self.ndcg.append(ndcg)
        self.lengths += map(len, texts)
        self.relevance += [value for value in scores.relevance if value is not None]
        self.truncated += scores.truncated
        self.billed += scores.billed


def _read(
    guarded: GuardedReranker,
    policy: Policy,
    questions: Sequence[_Question],
    renderer: Renderer,
    qrels: Qrels,
    on_progress: Progress,
) -> dict[str, _Reading]:
    """Score every question in every rendering, one right after the other: a service may change."""
    readings = {name: _Reading() for name in RENDERINGS}
    steps = list(product(questions, readings.items()))
    for done, (question, (name, reading)) in enumerate(steps, start=1):
        texts = [renderer.text(name, fields) for fields in question.documents.values()]
        scores = all_scores(guarded, question.text, texts, policy, question.instruction)
        reading.add(texts, scores, _ndcg(question, scores, qrels))
        on_progress("reranking", done, len(steps))
    return readings


@contextmanager
def _reranker(settings: Settings) -> Iterator[BaseReranker]:
    """Yield the configured reranker; close it at the end."""
    reranker = factory.reranker(settings)
    if reranker is None:
        raise ConfigurationError(
            "reranker.type", "must not be 'none'; set it to 'onnx', 'http' or 'cohere'"
        )
    adapted = adapt(reranker)
    try:
        yield adapted
    finally:
        run(adapted.closing())


def _ndcg(question: _Question, scores: Scores, qrels: Qrels) -> float:
    """Return the NDCG@10 of the reranker's own order, ties by id."""
    pairs = zip(question.documents, scores.raw, strict=True)
    ranked = [str(i) for i, _ in by_score((i, raw) for i, raw in pairs if raw is not None)]
    return metrics.ndcg(ranked, qrels.get(question.query_id, {}))


def _row(name: str, reading: _Reading, plain: _Reading) -> Row:
    changes = [a - b for a, b in zip(reading.ndcg, plain.ndcg, strict=True)]
    pairs = zip(reading.relevance, plain.relevance, strict=True)
    return Row(
        rendering=name,
        ndcg=statistics.fmean(reading.ndcg),
        change=statistics.fmean(changes),
        interval=bootstrap(changes),
        characters=statistics.fmean(reading.lengths),
        truncated=reading.truncated,
        difference=statistics.fmean(_distance(a, b) for a, b in pairs),
    )


def _distance(one: float, other: float) -> float:
    larger = max(one, other)
    return abs(one - other) / larger if larger else 0.0
