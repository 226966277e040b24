"""Compare the branches of a hybrid search by a reranker's relevance: no judgments are needed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from more_itertools import longest_common_prefix

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import Noted, Progress, evaluated_connector
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.ranking import branch_quality, branch_weights
from vecdb_rerank.request import Fusion
from vecdb_rerank.search.self_retrieval import setting
from vecdb_rerank.search.store import Finding

MIN_QUERIES = 20  # fewer say little
_SUBJECT = "branches"
_CLOSE = 0.1  # a difference in weight that is worth no warning
_WORDS, _SHARE = 5, 0.5  # words that no chance brings to the same place of so many queries


def compare(
    settings: Settings,
    dataset: Dataset,
    *,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
) -> Finding:
    """Search the queries, and return what their reranked hits say of both branches.

    The first ten hits of each branch are read. Raises `ConfigurationError` if the search is not a
    hybrid one, or has no reranker.
    """
    if settings.search.mode != "hybrid":
        raise ConfigurationError("search.mode", "must be 'hybrid' to compare its branches")
    if all(section.type == "none" for section in settings.chain):
        raise ConfigurationError("reranker.type", "must not be 'none': it compares the branches")
    policy = replace(settings.policy, effort="full", branch_evidence=True)
    settings = settings.model_copy(update={"policy": policy})
    done = iter(range(1, len(dataset.queries) + 1))
    with evaluated_connector(settings, dataset, on_progress, on_note=on_note) as connector:
        found = runs.run(
            connector,
            dataset.queries,
            modes=["hybrid"],
            k=2 * branch_quality.FIRST,
            depth=branch_quality.FIRST,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=lambda: on_progress("searching", next(done), len(dataset.queries)),
        )
    return finding(found["hybrid+rerank"].scored.values(), settings.search.fusion)


def instruction(queries: Sequence[str]) -> Finding:
    """Check whether the queries are wrapped in the same words, as in a template for a model."""
    split = [query.split() for query in queries]
    for place, step in (("begin", 1), ("end", -1)):
        turned = [words[::step] for words in split]
        common = Counter(tuple(words[:_WORDS]) for words in turned if len(words) > _WORDS)
        (first, count), *_ = common.most_common(1) or [((), 0)]
        if len(queries) >= MIN_QUERIES and count >= _SHARE * len(queries):
            alike = [words for words in turned if tuple(words[:_WORDS]) == first]
            shared = " ".join([*longest_common_prefix(alike)][::step])
            detail = (
                f"{count} of {len(queries)} {place} with the same words, which BM25 and the "
                f"reranker read as part of the question: {shared!r}"
            )
            return Finding("queries", "warning", detail, "search for the question alone")
    return Finding("queries", "ok", f"{len(queries)}, in no common words")


def finding(scored: Iterable[Scored], fusion: Fusion) -> Finding:
    """Return what reranked searches say of the branches of ``fusion``."""
    pairs = [
        pair
        for one in scored
        if (pair := branch_quality.ndcg(one.candidates, one.scores.relevance))
    ]
    if len(pairs) < MIN_QUERIES:
        detail = f"only {len(pairs)} queries have hits in both branches, fewer than {MIN_QUERIES}"
        return Finding(_SUBJECT, "note", detail, "give more queries of users")
    bm25, dense = (round(statistics.fmean(values), 2) for values in zip(*pairs, strict=True))
    measured = Fusion(branch_quality=(bm25, dense))
    detail = branch_weights.weak_branch(measured) or (
        f"NDCG@10 by the reranker's relevance, {len(pairs)} queries: bm25 {bm25}, dense {dense}"
    )
    now, better = (_share(one) for one in (fusion, measured))
    if fusion.fixed is not None or abs(now - better) < _CLOSE:
        return Finding(_SUBJECT, "ok", detail)
    return Finding(_SUBJECT, "warning", detail, setting("branch_quality", (bm25, dense), fusion))


def _share(fusion: Fusion) -> float:
    bm25, dense = branch_weights.by_quality(fusion.branch_quality)
    return bm25 / (bm25 + dense)
