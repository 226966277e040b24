"""Evaluating the configured connector on a judged collection of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from vecdb_rerank import factory
from vecdb_rerank.errors import ConfigurationError, IngestError
from vecdb_rerank.evaluation import report, runs
from vecdb_rerank.evaluation.cache import CachedEmbedder
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.search import Mode
from vecdb_rerank.settings import QdrantSettings, Settings

Progress = Callable[[str, int, int], None]


def evaluate(
    settings: Settings,
    dataset: Dataset,
    *,
    modes: Sequence[Mode] = runs.MODES,
    k: int = 50,
    on_progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Index the collection, run its queries, and delete it again; the result as `report` has it.

    It lives in a collection of its own beside the configured one; an embedded Qdrant is kept in
    memory. ``on_progress`` gets (what, done, total).
    """
    total = len(dataset.queries) * len(modes)
    with filled(settings, dataset, on_progress) as connector:
        done = iter(range(1, total + 1))
        found = runs.run(
            connector,
            dataset.queries,
            modes=modes,
            k=k,
            on_progress=lambda: on_progress("searching", next(done), total),
        )
    return report.summary(dataset, found, k, settings.backend.type)


@contextmanager
def filled(settings: Settings, dataset: Dataset, on_progress: Progress) -> Iterator[Any]:
    """A connector to a collection of its own that holds the dataset, deleted in the end."""
    if settings.embedder.type == "none":
        raise ConfigurationError("embedder: evaluating needs one; it embeds queries and documents")
    with closing(factory.build(_own_collection(settings))) as connector:
        embedder = connector.pipeline.embedder
        name = getattr(embedder, "name", repr(embedder))
        with closing(CachedEmbedder(embedder, name)) as cached:
            connector.pipeline = replace(connector.pipeline, embedder=cached)
            try:
                _fill(connector, dataset, on_progress)
                yield connector
            finally:
                connector.delete()


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
