"""Evaluate the configured search on a judged collection."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

from vecdb_rerank._optional import require
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import details, live, runs
from vecdb_rerank.evaluation.cache import CachedReranker
from vecdb_rerank.evaluation.connector import (
    EvaluatedConnector,
    Noted,
    Progress,
    evaluated_connector,
)
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.effort_curve import effort_curve
from vecdb_rerank.evaluation.environment import environment, measured_settings
from vecdb_rerank.evaluation.metrics import Ranked
from vecdb_rerank.evaluation.result import EvaluationResult, rounded, summary, with_tuned_fusion
from vecdb_rerank.evaluation.verdict import verdict
from vecdb_rerank.evaluation.yardstick import yardstick
from vecdb_rerank.request import BRANCHES, Mode


def evaluate(
    settings: Settings,
    dataset: Dataset,
    *,
    modes: Sequence[Mode] = runs.MODES,
    k: int | None = None,
    cache: bool = False,
    others: Mapping[str, Ranked] | None = None,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
    on_runs: Callable[[Mapping[str, runs.Run]], None] = lambda _: None,
) -> EvaluationResult:
    """Run the queries on the dataset's documents, and return the numbers.

    A live dataset is searched where it is, and nothing is written. The documents of any other go to
    a collection of their own on the configured server, which is deleted afterwards; an embedded
    Qdrant is kept in memory. What the collection lacks is told to ``on_note``.

    ``k`` defaults to ``settings.search.k``; the depth is always its default. With
    ``cache``, the reranker's scores are kept on disk and used again; a stage whose scores came
    from the cache has no times. ``others`` are the runs of other systems by their names, which are
    compared with the reranked order. ``on_runs`` is called with all stages' runs.
    """
    for library in ("ir_measures", "scipy"):  # needed at the end
        require(library, "evaluation")
    main: Mode = "hybrid" if "hybrid" in modes else modes[-1]
    k = settings.search.k if k is None else k
    # Tuned fusion needs both branches, if only as first passes.
    branches: list[Mode] = [b for b in BRANCHES if main == "hybrid" and b not in modes]
    total = len(dataset.queries) * (len(modes) + len(branches) + 1)
    done = iter(range(1, total + 1))

    def step() -> None:
        on_progress("searching", next(done), total)

    opened = evaluated_connector(settings, dataset, on_progress, cache=cache, on_note=on_note)
    with opened as connector:
        # The main mode first: later modes find the scores they share with it in the cache.
        found: dict[str, runs.Run] = {}
        for mode in sorted(modes, key=lambda m: m != main):
            found |= _run(connector, dataset, mode, k, step)
        found |= runs.run(
            connector,
            dataset.queries,
            modes=branches,
            k=k,
            rerank=False,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=step,
        )
        [deep] = runs.run(
            connector,
            dataset.queries,
            modes=[main],
            k=details.DEEP_K,
            rerank=False,
            info=dataset.info,
            ids=dataset.ids,
            on_progress=step,
        ).values()
        text = _texts(connector, dataset, [*found.values(), deep])
        documents = live.count(connector.store) if dataset.live else len(dataset.corpus)
        chain = connector.pipeline.chain
    stages = {name: found[name] for mode in modes for name in (mode, f"{mode}+rerank")}
    compared = {name: run for name, run in found.items() if chain or "+" not in name}
    # Rounded first, so that the verdict and the tables show the same numbers.
    measured = rounded(yardstick(compared, dataset.qrels, policy=settings.policy))
    on_runs(stages)
    listwise = chain is None or any(reranker.listwise for reranker in chain.rerankers)
    reranked = found[f"{main}+rerank"]
    curve = [] if listwise else effort_curve(reranked, dataset.qrels, settings.policy)
    looked_at = details.compute(dataset, stages, deep, main, k, text, others or {})
    stages |= {
        name: runs.Run({query: [*ids] for query, ids in ranked.items()})
        for name, ranked in (others or {}).items()
    }
    return {
        **with_tuned_fusion(
            summary(dataset, stages, k, settings.backend.type, documents), measured
        ),
        "verdict": verdict(measured, looked_at["cost_per_1000"]),
        "reranker": "" if chain is None else chain.name,
        "settings": measured_settings(settings),
        "environment": environment(),
        "yardstick": measured,
        "details": looked_at,
        "effort_curve": rounded(curve),
        "gate": None,
    }


def _run(
    connector: EvaluatedConnector, dataset: Dataset, mode: Mode, k: int, step: Callable[[], None]
) -> dict[str, runs.Run]:
    before = _from_cache(connector)
    found = runs.run(
        connector,
        dataset.queries,
        modes=[mode],
        k=k,
        info=dataset.info,
        ids=dataset.ids,
        on_progress=step,
    )
    found[f"{mode}+rerank"].cached = _from_cache(connector) > before
    return found


def _texts(
    connector: EvaluatedConnector, dataset: Dataset, found: Sequence[runs.Run]
) -> details.Text:
    """Return where the texts of documents come from: the corpus, or the hits of a live one."""
    if not dataset.live:
        return details.texts(dataset, connector.pipeline.text_fields.text)
    seen: Mapping[str, str] = ChainMap(*(run.texts for run in found))
    return lambda document: seen.get(document, "")


def _from_cache(connector: EvaluatedConnector) -> int:
    """Return how many scores the connector's rerankers have taken from a cache so far."""
    chain = connector.pipeline.chain
    rerankers = chain.rerankers if chain else ()
    return sum(one.found for one in rerankers if isinstance(one, CachedReranker))
