"""The known ways in which a reranked search fails, looked for on one's own judged queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import details, metrics, runs
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.evaluate import Progress, filled
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import Paired, paired
from vecdb_rerank.evaluation.structure import Comparison, compare, fields
from vecdb_rerank.search.connector import Finding

# A finding is not fine beyond these.
LEAST_RECALL = 0.95  # recall@k as a part of recall@200
LOW = 0.2  # a relevance that looks like "not relevant" ...
MOST_LOW = 0.2  # ... and the share of relevant documents that may have it
SLOW_MS = 500.0  # p95 of reranking
MOST_TRUNCATED = 0.05  # share of the scored documents
MOST_DIFFERENT = 0.2  # a document's relevance in another form, as a share
SAMPLE = 20  # queries for the structure, each of which is scored four times


def diagnose(
    settings: Settings, dataset: Dataset, *, on_progress: Progress = lambda *_: None
) -> list[Finding]:
    """Search the judged queries as configured (mode and k), and look for each known failure.

    The documents go to a collection of their own, deleted afterwards. ``on_progress`` gets (what,
    done, total).
    """
    mode, k = settings.search.mode, settings.search.k
    total = 2 * len(dataset.queries)
    done = iter(range(1, total + 1))

    def step() -> None:
        on_progress("searching", next(done), total)

    with filled(settings, dataset, on_progress) as connector:
        found = runs.run(connector, dataset.queries, modes=[mode], k=k, on_progress=step)
        deep = runs.run(
            connector,
            dataset.queries,
            modes=[mode],
            k=max(k, details.DEEP),
            rerank=False,
            on_progress=step,
        )[mode]
    raw, reranked = found[mode], found[f"{mode}+rerank"]
    findings = [depth(deep, dataset.qrels, k)]
    if reranked.relevance and any(reranked.relevance.values()):
        changes = details.changes(raw.ranked, reranked.ranked, dataset.qrels)
        findings += [
            gain(paired(list(changes.values()))),
            low_relevance(reranked, dataset.qrels),
            speed(reranked),
            truncation(reranked),
            *_structure(settings, dataset, on_progress),
        ]
    return findings


def depth(deep: Run, qrels: Qrels, k: int) -> Finding:
    """Whether the first pass brings the relevant documents that there are."""
    curve = details.recall_curve(deep.ranked, qrels)
    reached, whole = metrics.recall(deep.ranked, qrels, k), curve["recall"][str(details.DEEP)]
    ok = reached >= LEAST_RECALL * whole
    return Finding(
        "depth of the first pass",
        ok,
        f"recall@{k} {reached:.3f}, recall@{details.DEEP} {whole:.3f} "
        f"(threshold: {LEAST_RECALL:.0%} of it, reached at k = {curve['k_for_95']})",
        "" if ok else f"search.k = {curve['k_for_95']}; what it costs: vecdb-rerank tune",
    )


def gain(how: Paired) -> Finding:
    """Whether reranking makes the order worse by more than chance."""
    low, high = how.interval
    ok = high >= 0
    return Finding(
        "gain of reranking",
        ok,
        f"NDCG@10 {how.change:+.3f} [{low:+.3f}, {high:+.3f}], {how.wins} queries better, "
        f"{how.losses} worse (threshold: interval not below 0)",
        "" if ok else "vecdb-rerank tune; or the blend 'confidence'; or another reranker",
    )


def low_relevance(reranked: Run, qrels: Qrels) -> Finding:
    """Whether the reranker takes relevant documents for irrelevant ones."""
    values = [
        value
        for query_id, relevance in reranked.relevance.items()
        for document in metrics.relevant(qrels.get(query_id, {}))
        if (value := relevance.get(document)) is not None
    ]
    share = sum(value < LOW for value in values) / len(values) if values else 0.0
    ok = share <= MOST_LOW
    return Finding(
        f"relevant documents under {LOW}",
        ok,
        f"{share:.0%} of {len(values)} (threshold: {MOST_LOW:.0%})",
        "" if ok else "no policy.min_relevance; keep a blend; try a reranker for this domain",
    )


def speed(reranked: Run) -> Finding:
    """Whether reranking takes longer than a user waits."""
    times = metrics.latency([timings.get("rerank", 0.0) for timings in reranked.timings])
    ok = times["p95"] <= SLOW_MS
    return Finding(
        "time of reranking",
        ok,
        f"p50 {times['p50']:.0f} ms, p95 {times['p95']:.0f} ms (threshold: {SLOW_MS:.0f} ms)",
        "" if ok else "lower search.k or reranker.max_length; a GPU; a rerank server",
    )


def truncation(reranked: Run) -> Finding:
    """Whether the reranker reads the documents to their end."""
    scored = sum(map(len, reranked.relevance.values()))
    share = reranked.truncated / scored if scored else 0.0
    ok = share <= MOST_TRUNCATED
    return Finding(
        "documents read in part",
        ok,
        f"{share:.0%} of {scored:,} (threshold: {MOST_TRUNCATED:.0%})",
        "" if ok else "index shorter passages, or raise reranker.max_length",
    )


def _structure(settings: Settings, dataset: Dataset, on_progress: Progress) -> Iterator[Finding]:
    """Whether the form of structured documents changes what the reranker says of them."""
    if any(_structured(document) for document in dataset.corpus[:100]):
        compared = compare(settings, dataset.sample(SAMPLE), k=20, on_progress=on_progress)
        yield structure(compared)


def structure(compared: Comparison) -> Finding:
    """The finding on a comparison of renderings."""
    most = max(compared.rows, key=lambda row: row.difference)
    best = max(compared.rows, key=lambda row: row.ndcg)
    ok = most.difference <= MOST_DIFFERENT
    return Finding(
        "form of documents",
        ok,
        f"as {most.rendering}, a document's relevance differs by {most.difference:.0%} from that "
        f"as plain text (threshold: {MOST_DIFFERENT:.0%})",
        ""
        if ok
        else f"read best as {best.rendering}: text_fields.template; vecdb-rerank structure",
    )


def _structured(document: Any) -> bool:
    return any(isinstance(value, dict | list) for value in fields(document).values())
