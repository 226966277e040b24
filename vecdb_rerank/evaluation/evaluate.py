"""Evaluating the configured connector on a judged collection of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import QdrantSettings, Settings
from vecdb_rerank.errors import ConfigurationError, IngestError
from vecdb_rerank.evaluation import details, runs
from vecdb_rerank.evaluation.cache import CachedEmbedder, CachedReranker, score_key
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.report import tables
from vecdb_rerank.request import Mode
from vecdb_rerank.resilience.chain import Chain

Progress = Callable[[str, int, int], None]


def evaluate(
    settings: Settings,
    dataset: Dataset,
    *,
    modes: Sequence[Mode] = runs.MODES,
    k: int | None = None,
    cache: bool = False,
    on_progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Index the collection, run its queries, and delete it again; the result as `report` has it.

    It lives in a collection of its own beside the configured one; an embedded Qdrant is kept in
    memory. ``k`` is that of ``settings.search`` where it is None; the depth always is. ``cache``
    keeps the reranker's scores on disk and takes those that are there; no time is told of a stage
    that they came from. ``on_progress`` gets (what, done, total).
    """
    main = "hybrid" if "hybrid" in modes else modes[-1]
    k = settings.search.k if k is None else k
    total = len(dataset.queries) * (len(modes) + 1)
    done = iter(range(1, total + 1))

    def step() -> None:
        on_progress("searching", next(done), total)

    with filled(settings, dataset, on_progress, cache=cache) as connector:
        # The main mode first: whatever the modes share is in the cache after it.
        found: dict[str, runs.Run] = {}
        for mode in sorted(modes, key=lambda m: m != main):
            found |= _run(connector, dataset, mode, k, step)
        [deep] = runs.run(
            connector,
            dataset.queries,
            modes=[main],
            k=details.DEEP,
            rerank=False,
            on_progress=step,
        ).values()
        text = details.texts(dataset, connector.pipeline.text_fields.text)
        reranker = "" if connector.pipeline.chain is None else connector.pipeline.chain.name
    stages = {name: found[name] for mode in modes for name in (mode, f"{mode}+rerank")}
    return {
        **tables.summary(dataset, stages, k, settings.backend.type),
        "reranker": reranker,
        "details": tables.detailed(dataset, stages, deep, main, k, text),
    }


def _run(
    connector: Any, dataset: Dataset, mode: Mode, k: int, step: Callable[[], None]
) -> dict[str, runs.Run]:
    before = _from_cache(connector)
    found = runs.run(connector, dataset.queries, modes=[mode], k=k, on_progress=step)
    found[f"{mode}+rerank"].cached = _from_cache(connector) > before
    return found


def _from_cache(connector: Any) -> int:
    """How many scores the connector's rerankers have taken from a cache so far."""
    chain = connector.pipeline.chain
    return sum(getattr(one, "found", 0) for one in (chain.rerankers if chain else ()))


@contextmanager
def filled(
    settings: Settings,
    dataset: Dataset,
    on_progress: Progress,
    *,
    cache: bool = False,
    scores: Path | None = None,
) -> Iterator[Any]:
    """A connector to a collection of its own that holds the dataset, deleted in the end.

    With ``cache``, the scores of its rerankers are kept in the file ``scores`` (default: in the
    user's cache).
    """
    if settings.embedder.type == "none":
        raise ConfigurationError(
            "embedder", "evaluating needs one; it embeds queries and documents"
        )
    with closing(factory.build(_own_collection(settings))) as connector:
        embedder = connector.pipeline.embedder
        name = getattr(embedder, "name", repr(embedder))
        with closing(CachedEmbedder(embedder, name)) as cached:
            connector.pipeline = replace(connector.pipeline, embedder=cached)
            if cache and connector.pipeline.chain is not None:
                chain = _cached(connector.pipeline.chain, settings, scores)
                connector.pipeline = replace(connector.pipeline, chain=chain)
            try:
                _fill(connector, dataset, on_progress)
                yield connector
            finally:
                connector.delete()


def _cached(chain: Chain, settings: Settings, file: Path | None) -> Chain:
    sections = [section for section in settings.chain if section.type != "none"]
    pairs = zip(chain.rerankers, sections, strict=True)
    return Chain(
        [
            # What is scored by the list is scored anew for each one.
            one if one.listwise else CachedReranker(one, score_key(section.model_dump()), file)
            for one, section in pairs
        ]
    )


def _fill(connector: Any, dataset: Dataset, on_progress: Progress) -> None:
    connector.create()
    size = len(dataset.corpus)
    added = connector.add(
        dataset.corpus, on_progress=lambda done: on_progress("indexing", done, size)
    )
    if added.failed:
        first = added.failed[0]
        raise IngestError(
            f"{len(added.failed)} documents were not stored, {first.id} first: {first.reason}"
        )


def _own_collection(settings: Settings) -> Settings:
    own: dict[str, Any] = {"collection": f"vecdb-rerank-evaluation-{uuid.uuid4().hex[:8]}"}
    if isinstance(settings.backend, QdrantSettings) and settings.backend.url is None:
        own["path"] = ":memory:"
    # A slow machine must not change the numbers, nor a minimum the raw stages.
    return settings.model_copy(
        update={
            "backend": settings.backend.model_copy(update=own),
            "policy": replace(settings.policy, deadline=None, min_relevance=None),
        }
    )
