"""Look for the known failures of a reranked search, on judged queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import details, metrics, runs
from vecdb_rerank.evaluation.connector import Noted, Progress, evaluated_connector
from vecdb_rerank.evaluation.datasets import Dataset, Qrels
from vecdb_rerank.evaluation.renderings import parsed_fields
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.significance import MIN_QUERIES, Paired, paired, too_few
from vecdb_rerank.evaluation.structure import Comparison, compare
from vecdb_rerank.search.store import Finding

# The thresholds of the findings.
MIN_RECALL_SHARE = 0.95  # recall@k as a share of recall@200
LOW_RELEVANCE = 0.2
MAX_LOW_SHARE = 0.2  # of the relevant documents that have a low relevance
MAX_RERANK_MS = 500.0  # p95
MAX_TRUNCATED_SHARE = 0.05  # of the scored documents
MAX_DIFFERENCE = 0.2  # of a document's relevance in another form, as a share
STRUCTURE_QUERIES = 20  # each is scored once per rendering


def diagnose(
    settings: Settings,
    dataset: Dataset,
    *,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
) -> list[Finding]:
    """Search the judged queries with the configured mode and k; return one finding per failure.

    The collection is that of `evaluated_connector`.
    """
    mode, k = settings.search.mode, settings.search.k
    total = 2 * len(dataset.queries)
    done = iter(range(1, total + 1))

    def step() -> None:
        on_progress("searching", next(done), total)

    with evaluated_connector(settings, dataset, on_progress, on_note=on_note) as connector:
        found = runs.run(
            connector,
            dataset.queries,
            modes=[mode],
            k=k,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=step,
        )
        deep = runs.run(
            connector,
            dataset.queries,
            modes=[mode],
            k=max(k, details.DEEP_K),
            rerank=False,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=step,
        )[mode]
    raw, reranked = found[mode], found[f"{mode}+rerank"]
    findings = [queries(len(dataset.queries)), depth(deep, dataset.qrels, k)]
    if reranked.relevance and any(reranked.relevance.values()):
        how = paired(list(details.changes(raw.ranked, reranked.ranked, dataset.qrels).values()))
        findings += [
            gain(how),
            low_relevance(reranked, dataset.qrels),
            speed(reranked),
            truncation(reranked),
            *_structure(settings, dataset, on_progress),
        ]
    return findings


def queries(count: int) -> Finding:
    """Check whether the other findings rest on enough queries."""
    warning = too_few(count)
    return Finding(
        "judged queries",
        "warning" if warning else "ok",
        f"{count:,} (threshold: {MIN_QUERIES})",
        warning,
    )


def depth(deep: Run, qrels: Qrels, k: int) -> Finding:
    """Check whether k hits of the first pass hold the relevant documents."""
    curve = details.recall_curve(deep.by_hit, qrels)
    reached, whole = metrics.recall(deep.by_hit, qrels, k), curve["recall"][str(details.DEEP_K)]
    ok = reached >= MIN_RECALL_SHARE * whole
    return Finding(
        "depth of the first pass",
        "ok" if ok else "warning",
        f"recall@{k} {reached:.3f}, recall@{details.DEEP_K} {whole:.3f} "
        f"(threshold: {MIN_RECALL_SHARE:.0%} of it, reached at k = {curve['k_for_95']})",
        "" if ok else f"search.k = {curve['k_for_95']}; to see what it costs: vecdb-rerank tune",
    )


def gain(how: Paired) -> Finding:
    """Check whether reranking makes the order worse by more than chance."""
    low, high = how.interval
    ok = high >= 0
    return Finding(
        "gain of reranking",
        "ok" if ok else "warning",
        f"NDCG@10 {how.change:+.3f} [{low:+.3f}, {high:+.3f}], queries: {how.wins} better, "
        f"{how.losses} worse (threshold: interval not below 0)",
        "" if ok else "run vecdb-rerank tune, set the blend 'confidence', or use another reranker",
    )


def low_relevance(reranked: Run, qrels: Qrels) -> Finding:
    """Check whether relevant documents get a low relevance."""
    values = [
        value
        for query_id, relevance in reranked.relevance.items()
        for document in metrics.relevant(qrels.get(query_id, {}))
        if (value := relevance.get(document)) is not None
    ]
    share = sum(value < LOW_RELEVANCE for value in values) / len(values) if values else 0.0
    ok = share <= MAX_LOW_SHARE
    return Finding(
        f"relevant documents under {LOW_RELEVANCE}",
        "ok" if ok else "warning",
        f"{share:.0%} of {len(values)} (threshold: {MAX_LOW_SHARE:.0%})",
        "" if ok else "unset policy.min_relevance, keep a blend, or use a reranker for this domain",
    )


def speed(reranked: Run) -> Finding:
    """Check whether reranking takes longer than a user waits."""
    times = metrics.latency([timings.get("rerank", 0.0) for timings in reranked.timings])
    ok = times["p95"] <= MAX_RERANK_MS
    return Finding(
        "time of reranking",
        "ok" if ok else "warning",
        f"p50 {times['p50']:.0f} ms, p95 {times['p95']:.0f} ms (threshold: {MAX_RERANK_MS:.0f} ms)",
        "" if ok else "lower search.k or reranker.max_length, or use a GPU or a rerank server",
    )


def truncation(reranked: Run) -> Finding:
    """Check whether the reranker reads whole documents."""
    scored = sum(map(len, reranked.relevance.values()))
    share = reranked.truncated / scored if scored else 0.0
    ok = share <= MAX_TRUNCATED_SHARE
    return Finding(
        "documents read in part",
        "ok" if ok else "warning",
        f"{share:.0%} of {scored:,} (threshold: {MAX_TRUNCATED_SHARE:.0%})",
        "" if ok else "index shorter passages, or raise reranker.max_length",
    )


def _structure(settings: Settings, dataset: Dataset, on_progress: Progress) -> Iterator[Finding]:
    """Compare renderings if the collection has structured documents."""
    if any(_is_structured(document) for document in dataset.corpus[:100]):
        compared = compare(
            settings, dataset.sample(STRUCTURE_QUERIES), k=20, on_progress=on_progress
        )
        yield structure(compared)


def structure(compared: Comparison) -> Finding:
    """Check whether a document's relevance depends on its rendering."""
    different = max(compared.rows, key=lambda row: row.difference)
    best = max(compared.rows, key=lambda row: row.ndcg)
    ok = different.difference <= MAX_DIFFERENCE
    return Finding(
        "form of documents",
        "ok" if ok else "warning",
        f"as {different.rendering}, a document's relevance differs by {different.difference:.0%} "
        f"from that as plain text (threshold: {MAX_DIFFERENCE:.0%})",
        "" if ok else f"write documents as {best.rendering} (text_fields.template)",
    )


def _is_structured(document: Mapping[str, object]) -> bool:
    return any(isinstance(value, dict | list) for value in parsed_fields(document).values())
