"""The result of an evaluation: the dictionary that ``evaluate --json`` writes, with its types.

Metrics are from 0 to 1, rounded to four digits; times are in milliseconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict, TypeVar, cast

from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.effort_curve import EffortRow
from vecdb_rerank.evaluation.environment import Environment
from vecdb_rerank.evaluation.metrics import Percentiles
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import PairedDict
from vecdb_rerank.evaluation.verdict import Verdict
from vecdb_rerank.evaluation.yardstick import TUNED_FUSION, Yardstick

T = TypeVar("T")
# The metrics of `metrics.quality`; of a reranked stage, ``pairs`` and ``pairs_p95``: the documents
# scored per query, mean and p95. ``latency_ms`` is the latency: None if scores came
# from a cache.
Stage = Mapping[str, float | Percentiles | None]


class RecallCurve(TypedDict):
    """Recall by depth of the first pass, and the smallest k with 95 % of the recall at 200."""

    recall: dict[str, float]
    k_for_95: int


class HitsRow(TypedDict):
    """The quality and length of the first hits of an order, named ``hits``.

    ``found`` is the share of queries with a relevant hit, ``recall`` the share of the relevant
    documents, ``relevant`` the share of the hits that are relevant. ``characters`` is the mean
    length of the hits together.
    """

    hits: str
    found: float
    recall: float
    relevant: float
    characters: float


class Hit(TypedDict):
    """The id of a document and its text, cut to 500 characters."""

    id: str
    text: str


class RelevantDocument(TypedDict):
    """A document judged relevant, with its ranks (from 1; None if not found) and relevance."""

    id: str
    text: str
    grade: int
    first_pass_rank: int | None
    rank: int | None
    relevance: float | None


class TopHits(TypedDict):
    """The best hit of both orders; None if there are no hits."""

    first_pass: Hit | None
    reranked: Hit | None


class MovedHit(TypedDict):
    """A hit of the first ten that moved, with its ranks (from 1) and grade (None: not judged)."""

    id: str
    text: str
    grade: int | None
    first_pass_rank: int | None
    rank: int | None


class QueryReport(TypedDict):
    """One query with its NDCG@10 before and after reranking, and the hits that moved most."""

    query_id: str
    query: str
    first_pass: float
    reranked: float
    top: TopHits
    moved: list[MovedHit]
    relevant: list[RelevantDocument]


class QueryQuality(TypedDict):
    """The NDCG@10 of a query before and after reranking."""

    first_pass: float
    reranked: float


ClassRow = TypedDict(
    "ClassRow",
    {
        "class": str,
        "queries": int,
        "first_pass": float,
        "reranked": float,
        "change": float,
        "interval": Sequence[float],
    },
)
"""The mean NDCG@10 over the queries of a class, and the change with its 95 % interval."""


class Details(TypedDict):
    """What the means do not show, about the mode ``mode``.

    ``against_first_pass`` compares both stages of each mode, ``against_runs`` the reranked order
    with the runs of other systems by their names. ``changes`` is the change of NDCG@10 by query,
    ``ndcg`` its values. ``by_class`` groups the queries that have a class, as ``classes`` gives
    them. ``best`` holds the queries that gained most, ``worst`` those that lost most, or are
    lowest. ``truncated`` counts documents that were read only in part; None if scores came from
    a cache. ``statuses`` counts the outcomes of the reranked searches (see `Outcome`),
    ``cost_per_1000`` is the price of 1,000 of them, 0 if nothing was billed.
    """

    mode: str
    against_first_pass: dict[str, PairedDict]
    against_runs: dict[str, PairedDict]
    changes: dict[str, float]
    ndcg: dict[str, QueryQuality]
    classes: dict[str, str]
    by_class: list[ClassRow]
    recall_curve: RecallCurve
    retrieve_more: list[HitsRow]
    latency_ms: dict[str, Percentiles] | None
    truncated: int | None
    statuses: dict[str, int]
    cost_per_1000: float
    best: list[QueryReport]
    worst: list[QueryReport]


class EvaluationSummary(TypedDict):
    """The metrics and latencies of all stages.

    ``with_negatives`` counts queries that have a document judged not relevant: condensed NDCG and
    bpref are means over these.
    """

    dataset: str
    documents: int
    queries: int
    with_negatives: int
    k: int
    backend: str
    stages: dict[str, Stage]


class GateRow(TypedDict):
    """The change of NDCG@10 over the queries of a class; ``group`` is empty for all queries.

    ``lost`` means that the change is below the allowed loss, and more than chance.
    """

    group: str
    queries: int
    change: float
    interval: Sequence[float]
    p: float
    lost: bool


class Gate(TypedDict):
    """The comparison with an earlier run: all queries, then each class.

    ``notes`` say what makes the comparison unsure.
    """

    max_loss: float
    rows: list[GateRow]
    lost: bool
    notes: list[str]


class EvaluationResult(EvaluationSummary):
    """The summary with the details, the comparison with tuned fusion, and what follows from it.

    ``effort_curve`` is empty where reading fewer candidates was not computed.
    """

    verdict: Verdict
    reranker: str
    settings: dict[str, object]
    environment: Environment
    yardstick: Yardstick
    details: Details
    effort_curve: list[EffortRow]
    gate: Gate | None


def summary(
    dataset: Dataset,
    runs: Mapping[str, Run],
    k: int,
    backend: str,
    documents: int | None = None,
) -> EvaluationSummary:
    """Return the metrics and latencies of runs by stage.

    ``documents`` counts what is stored; by default, it is the size of the dataset's corpus.
    """
    return {
        "dataset": dataset.name,
        "documents": len(dataset.corpus) if documents is None else documents,
        "queries": len(dataset.queries),
        "with_negatives": len(metrics.with_negatives(dataset.queries, dataset.qrels)),
        "k": k,
        "backend": backend,
        "stages": {name: _stage(run, dataset.qrels, k) for name, run in runs.items()},
    }


def with_tuned_fusion(result: EvaluationSummary, measured: Yardstick) -> EvaluationSummary:
    """Return the summary with the stage ``tuned fusion``, if it was measured, after ``hybrid``.

    Its NDCG@10 is that on held-out queries. It takes as long as ``hybrid``.
    """
    tuned = next((row for row in measured["rows"] if row["name"] == TUNED_FUSION), None)
    stages: dict[str, Stage] = {}
    for name, stage in result["stages"].items():
        stages[name] = stage
        if name == "hybrid" and tuned is not None:
            quality = {"ndcg@10": tuned["ndcg@10"]}
            stages[TUNED_FUSION] = {**quality, "latency_ms": stage["latency_ms"]}
    return {**result, "stages": stages}


def _stage(run: Run, qrels: Qrels, k: int) -> Stage:
    quality = metrics.quality(run.ranked, qrels, k)
    timed = run.latencies_ms and not run.cached
    latency = rounded(metrics.latency(run.latencies_ms), 1) if timed else None
    return {**rounded(quality), **_pairs(run.pairs), "latency_ms": latency}


def _pairs(pairs: Sequence[int]) -> dict[str, float]:
    """Return how many documents the reranker scored, nothing for a first pass."""
    if not pairs:
        return {}
    p95 = metrics.latency(pairs)["p95"]
    return {"pairs": round(statistics.fmean(pairs), 1), "pairs_p95": round(p95, 1)}


def stage_metrics(stage: Stage) -> dict[str, float]:
    """Return the metrics of a stage without its pairs and its latency."""
    return {
        name: value
        for name, value in stage.items()
        if isinstance(value, float) and not name.startswith("pairs")
    }


def stage_times(stage: Stage) -> list[str]:
    """Return the p50 and p95 latency of a stage as text."""
    latency = stage["latency_ms"]
    if not isinstance(latency, dict):
        return ["not timed", "not timed"]
    return [f"{latency['p50']:.0f}", f"{latency['p95']:.0f}"]


def stage_pairs(stages: Mapping[str, T]) -> Iterator[tuple[str, T, T]]:
    """Yield each mode with its first-pass and its reranked stage."""
    for mode, first_pass in stages.items():
        if f"{mode}+rerank" in stages:
            yield mode, first_pass, stages[f"{mode}+rerank"]


def rounded(value: T, digits: int = 4) -> T:
    """Return a structure of dicts and lists with all floats rounded; tuples become lists."""
    return cast(T, _rounded(value, digits))


def _rounded(value: object, digits: int) -> object:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {name: _rounded(inner, digits) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner, digits) for inner in value]
    return value
