"""Whether a reranker reads the same documents better as plain text, as YAML or as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from vecdb_rerank._optional import require
from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.errors import ConfigurationError, IngestError
from vecdb_rerank.evaluation import metrics, runs
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.evaluate import Progress
from vecdb_rerank.evaluation.scoring import all_scores
from vecdb_rerank.evaluation.significance import ENOUGH, bootstrap
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.ranking.fusion import by_score
from vecdb_rerank.resilience.adapt import adapt
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.text_fields import TextFields, as_text

Fields = Mapping[str, Any]
PLAIN = "plain text"
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """What a reranker made of one rendering.

    ``ndcg`` is the mean NDCG@10 (0 to 1), ``change`` its difference to plain text with the
    ``interval`` that holds 95 % of its bootstrap means over queries. ``characters`` is the mean
    length of a document. ``truncated`` counts the documents that the model read only in part, as
    far as it tells. ``difference`` is the mean distance of a document's relevance from that of
    its plain text, as a share (0 to 1) of the larger of the two.
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
    """A row a rendering, plain text first, and what the measuring took.

    ``scored`` counts the documents of all ``calls`` together, ``billed`` the units that a service
    charged for them.
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
    """Score every query's candidates in each of `RENDERINGS` with the (first) reranker.

    The candidates of a query are the same in all of them: its relevant documents, at most
    ``k // 2``, filled up to ``k`` with the other hits of BM25 on the plain text, in an embedded
    Qdrant. They are sent in the order of their ids. ``on_progress`` gets (what, done, total).

    Raises `ConfigurationError` for ``k`` below 2 and where no reranker is configured, and what
    the reranker raises: nothing is measured without all scores.
    """
    require("ir_measures", "evaluation")  # rather now than after calls that cost money
    if k < 2:
        raise ConfigurationError(
            "k", f"{k} is below 2: one to be found, and one to be told from it"
        )
    renderer = _Renderer(settings.text_fields.max_chars)
    documents = {str(document["_id"]): fields(document) for document in dataset.corpus}
    with _reranker(settings) as reranker:
        guard = GuardedReranker(reranker)
        candidates = _candidates(dataset, renderer.plain(documents), k, on_progress)
        questions = [
            _Question(dataset.queries[q], q, {i: documents[i] for i in ids})
            for q, ids in candidates.items()
        ]
        readings = _read(guard, settings.policy, questions, renderer, dataset.qrels, on_progress)
    return Comparison(
        dataset=dataset.name,
        documents=len(documents),
        queries=len(questions),
        k=k,
        reranker=guard.name,
        rows=tuple(_row(name, reading, readings[PLAIN]) for name, reading in readings.items()),
        calls=len(questions) * len(readings),
        scored=sum(len(reading.relevance) for reading in readings.values()),
        billed=sum(reading.billed for reading in readings.values()),
    )


# -- rendering


def fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document holds but its id; a text that is a JSON object or list is taken as that."""
    return {name: _decoded(value) for name, value in document.items() if name != "_id"}


def _decoded(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _plain(held: Fields) -> str:
    return "\n".join(filter(None, (as_text(value) for _, value in _leaves(held))))


def _lines(held: Fields) -> str:
    named = ((path, _on_one_line(value)) for path, value in _leaves(held))
    return "\n".join(f"{path}: {text}" for path, text in named if text)


def _json(held: Fields) -> str:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"))


# TextFields writes structures as YAML, strings as they are.
RENDERINGS: Mapping[str, Callable[[Fields], str | Fields]] = {
    PLAIN: _plain,
    "key: value": _lines,
    "YAML": lambda held: held,
    "JSON": _json,
}


class _Renderer:
    """Renders as a search would read it: valid Unicode, at most so many characters."""

    def __init__(self, max_chars: int) -> None:
        self._documents = TextFields(fields=(_TEXT,), max_chars=max_chars)

    def text(self, rendering: str, held: Fields) -> str:
        """One document."""
        return self._documents.text({_TEXT: RENDERINGS[rendering](held)})

    def plain(self, documents: Mapping[str, Fields]) -> dict[str, str]:
        """Plain texts by id; a document that has none has nothing to be compared with."""
        texts = {i: self.text(PLAIN, held) for i, held in documents.items()}
        return {i: text for i, text in texts.items() if text}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a structure under their dotted paths; a list of plain values is one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


def _on_one_line(value: Any) -> str:
    return ", ".join(filter(None, map(as_text, value if isinstance(value, list) else [value])))


# -- candidates


def _candidates(
    dataset: Dataset, texts: Mapping[str, str], k: int, on_progress: Progress
) -> dict[str, list[str]]:
    """Ids of candidates by query, without the queries that have none."""
    found = _bm25(texts, dataset.queries, k, on_progress)
    chosen = {q: _chosen(dataset.qrels.get(q, {}), hits, texts, k) for q, hits in found.items()}
    if not any(chosen.values()):
        raise ConfigurationError(
            f"{dataset.name}",
            "no query has a candidate; do the ids in qrels.tsv and corpus.jsonl belong together?",
        )
    return {query_id: ids for query_id, ids in chosen.items() if ids}


def _chosen(
    grades: Mapping[str, int], hits: Sequence[str], texts: Mapping[str, str], k: int
) -> list[str]:
    judged = ((i, grade) for i, grade in grades.items() if grade > 0 and i in texts)
    relevant = [str(i) for i, _ in by_score(judged)][: k // 2]
    others = [i for i in hits if grades.get(i, 0) <= 0]
    # In an order that tells nothing: some models prefer what comes first.
    return sorted([*relevant, *others][:k])


def _bm25(
    texts: Mapping[str, str], queries: Mapping[str, str], k: int, on_progress: Progress
) -> Mapping[str, Sequence[str]]:
    """The ids of each query's ``k`` best hits."""
    settings = Settings(
        backend={"type": "qdrant", "path": ":memory:"},
        embedder={"type": "none"},
        reranker={"type": "none"},
        text_fields={"fields": [_TEXT]},
        policy={"deadline": None},
    )
    done = iter(range(1, len(queries) + 1))
    with closing(factory.build(settings)) as connector:
        _fill(connector, texts, on_progress)
        found = runs.run(
            connector,
            queries,
            modes=["bm25"],
            k=k,
            rerank=False,
            on_progress=lambda: on_progress("searching", next(done), len(queries)),
        )
    return found["bm25"].ranked


def _fill(connector: Any, texts: Mapping[str, str], on_progress: Progress) -> None:
    # A collection has a dense vector; BM25 alone never reads it.
    placeholder = FunctionEmbedder(lambda batch: [[1.0]] * len(batch), dimension=1)
    connector.pipeline = replace(connector.pipeline, embedder=placeholder)
    connector.create()
    added = connector.add(
        ({"_id": i, _TEXT: text} for i, text in texts.items()),
        on_progress=lambda done: on_progress("indexing", done, len(texts)),
    )
    if added.failed:
        first = added.failed[0]
        raise IngestError(f"{len(added.failed)} documents were not indexed: {first.reason}")


# -- scoring


@dataclass(frozen=True, slots=True)
class _Question:
    """A query and its candidates by id."""

    text: str
    query_id: str
    documents: Mapping[str, Fields]


@dataclass(slots=True)
class _Reading:
    """What the reranker said of one rendering, over all queries."""

    ndcg: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    relevance: list[float] = field(default_factory=list)
    truncated: int = 0
    billed: float = 0.0

    def add(self, texts: Sequence[str], scores: Scores, ndcg: float) -> None:
        """Record one query's answer."""
        self.ndcg.append(ndcg)
        self.lengths += map(len, texts)
        self.relevance += [value for value in scores.relevance if value is not None]
        self.truncated += scores.truncated
        self.billed += scores.billed


def _read(
    guard: GuardedReranker,
    policy: Policy,
    questions: Sequence[_Question],
    renderer: _Renderer,
    qrels: Qrels,
    on_progress: Progress,
) -> dict[str, _Reading]:
    """Every question in every rendering, one right after the other: a service may change."""
    readings = {name: _Reading() for name in RENDERINGS}
    steps = list(product(questions, readings.items()))
    for done, (question, (name, reading)) in enumerate(steps, start=1):
        texts = [renderer.text(name, held) for held in question.documents.values()]
        scores = all_scores(guard, question.text, texts, policy)
        reading.add(texts, scores, _ndcg(question, scores, qrels))
        on_progress("reranking", done, len(steps))
    return readings


@contextmanager
def _reranker(settings: Settings) -> Iterator[BaseReranker]:
    """The configured reranker, closed in the end."""
    reranker = factory.reranker(settings)
    if reranker is None:
        raise ConfigurationError(
            "reranker.type", "'none' reads no documents; set it to 'onnx', 'http' or 'cohere'"
        )
    adapted = adapt(reranker)
    try:
        yield adapted
    finally:
        run(adapted.closing())


def _ndcg(question: _Question, scores: Scores, qrels: Qrels) -> float:
    """NDCG@10 of the reranker's own order, ties by id."""
    pairs = zip(question.documents, scores.raw, strict=True)
    ranked = [str(i) for i, _ in by_score((i, raw) for i, raw in pairs if raw is not None)]
    return metrics.quality({question.query_id: ranked}, qrels, 10)["ndcg@10"]


# -- the table


def _row(name: str, reading: _Reading, plain: _Reading) -> Row:
    changes = [mine - its for mine, its in zip(reading.ndcg, plain.ndcg, strict=True)]
    pairs = zip(reading.relevance, plain.relevance, strict=True)
    return Row(
        rendering=name,
        ndcg=statistics.fmean(reading.ndcg),
        change=statistics.fmean(changes),
        interval=bootstrap(changes),
        characters=statistics.fmean(reading.lengths),
        truncated=reading.truncated,
        difference=statistics.fmean(_distance(mine, its) for mine, its in pairs),
    )


def _distance(one: float, other: float) -> float:
    larger = max(one, other)
    return abs(one - other) / larger if larger else 0.0


def conclusion(compared: Comparison) -> str:
    """The answer in a sentence or two."""
    if compared.queries < ENOUGH:
        return f"{compared.queries} queries are too few to tell: measure at least {ENOUGH}."
    apart = [row for row in compared.rows if row.beyond_chance]
    if not apart:
        return (
            "No rendering is read better or worse than plain text beyond chance: every interval "
            f"holds 0 ({compared.queries} queries)."
        )
    return " ".join(
        f"{row.rendering} is read {'better' if row.change > 0 else 'worse'} than plain text "
        f"({row.change:+.3f})."
        for row in apart
    )
