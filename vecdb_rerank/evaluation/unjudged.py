"""Compare two orders of the same queries without judgments: how much, and where, they differ."""

from __future__ import annotations

import statistics
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import TypedDict

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import Noted, Progress, evaluated_connector
from vecdb_rerank.evaluation.connector import modes as searchable_modes
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.details import SNIPPET_CHARS, Text, moved_hits
from vecdb_rerank.evaluation.environment import Environment, environment, measured_settings
from vecdb_rerank.evaluation.metrics import Percentiles, Ranked, latency
from vecdb_rerank.evaluation.result import MovedHit, rounded
from vecdb_rerank.request import Mode

HITS = 10
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten hits have 86 % of the weight


class ChangedQuery(TypedDict):
    """One query: the share of hits that both orders have, their RBO (0 to 1), what moved most."""

    query_id: str
    query: str
    overlap: float
    rbo: float
    moved: list[MovedHit]


class Changes(TypedDict):
    """The difference of two orders, most changed queries first.

    ``overlap`` is the mean share of the first ten hits that both have, ``rbo`` the mean rank-biased
    overlap, ``same_first`` the share of queries with the same first hit.
    """

    one: str
    other: str
    overlap: float
    rbo: float
    same_first: float
    queries: list[ChangedQuery]


class UnjudgedResult(TypedDict):
    """What can be said of a collection before any judgment.

    ``arms`` compares pairs of orders. ``latency_ms`` is that of each.
    """

    dataset: str
    k: int
    backend: str
    settings: dict[str, object]
    environment: Environment
    latency_ms: dict[str, Percentiles]
    arms: list[Changes]


def evaluate_unjudged(
    settings: Settings,
    dataset: Dataset,
    *,
    modes: Sequence[Mode] = (),
    k: int | None = None,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
) -> UnjudgedResult:
    """Search every query; compare the first pass of each mode with the final order.

    Without ``modes``, it is the configured mode.
    """
    chosen = searchable_modes(settings, dataset, modes)
    chosen = chosen if modes else chosen[-1:]
    k = settings.search.k if k is None else k
    total = len(dataset.queries) * len(chosen)
    done = iter(range(1, total + 1))
    with evaluated_connector(settings, dataset, on_progress, on_note=on_note) as connector:
        found = runs.run(
            connector,
            dataset.queries,
            modes=chosen,
            k=k,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=lambda: on_progress("searching", next(done), total),
        )
    texts = ChainMap(*(run.texts for run in found.values()))
    arms = [
        changes(
            mode,
            f"{mode}+rerank",
            {name: run.ranked for name, run in found.items()},
            dataset.queries,
            lambda document: texts.get(document, "")[:SNIPPET_CHARS],
        )
        for mode in chosen
    ]
    return {
        "dataset": dataset.name,
        "k": k,
        "backend": settings.backend.type,
        "settings": measured_settings(settings),
        "environment": environment(),
        "latency_ms": rounded({n: latency(run.latencies_ms) for n, run in found.items()}, 1),
        "arms": rounded(arms),
    }


def changes(
    one: str,
    other: str,
    ranked: Mapping[str, Ranked],
    queries: Mapping[str, str],
    text: Text,
) -> Changes:
    """Compare the order ``other`` with ``one``, both keys of ``ranked``."""
    rows = [
        _changed(query, queries.get(query, query), hits, ranked[other].get(query, ()), text)
        for query, hits in ranked[one].items()
    ]
    pairs = [(ranked[one][row["query_id"]], ranked[other].get(row["query_id"], ())) for row in rows]
    return {
        "one": one,
        "other": other,
        "overlap": statistics.fmean(row["overlap"] for row in rows),
        "rbo": statistics.fmean(row["rbo"] for row in rows),
        "same_first": statistics.fmean(list(a[:1]) == list(b[:1]) for a, b in pairs),
        "queries": sorted(rows, key=lambda row: row["rbo"]),
    }


def _changed(
    query_id: str, query: str, one: Sequence[str], other: Sequence[str], text: Text
) -> ChangedQuery:
    return {
        "query_id": query_id,
        "query": query,
        "overlap": overlap(one, other),
        "rbo": rbo(one, other),
        "moved": moved_hits(one, other, {}, text),
    }


def overlap(one: Sequence[str], other: Sequence[str], n: int = HITS) -> float:
    """Return the share (0 to 1) of the first ``n`` hits that both have; 1 for two empty lists."""
    longest = min(n, max(len(one), len(other)))
    return len(set(one[:n]) & set(other[:n])) / longest if longest else 1.0


def rbo(one: Sequence[str], other: Sequence[str], n: int = HITS, p: float = PERSISTENCE) -> float:
    """Return the extrapolated rank-biased overlap (0 to 1) of the first ``n`` hits.

    Webber, Moffat and Zobel (2010), equation 32 for lists of different lengths: a user looks at the
    next hit with probability ``p``, and the agreement at the end is assumed to go on. 1 for two
    empty lists.
    """
    short, long = sorted((list(one[:n]), list(other[:n])), key=len)
    if not long:
        return 1.0
    if not short:
        return 0.0
    at = [len(set(short[:depth]) & set(long[:depth])) for depth in range(1, len(long) + 1)]
    last, whole = len(short), len(long)
    seen = sum(x / depth * p**depth for depth, x in enumerate(at, start=1))
    beyond = sum(
        at[last - 1] * (depth - last) / (last * depth) * p**depth
        for depth in range(last + 1, whole + 1)
    )
    tail = (at[-1] - at[last - 1]) / whole + at[last - 1] / last
    return (1 - p) / p * (seen + beyond) + tail * p**whole
