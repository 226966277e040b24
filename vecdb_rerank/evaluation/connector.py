"""Open the collection that an evaluation searches: a temporary one, or one that exists."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Unpack

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import QdrantSettings, Settings
from vecdb_rerank.errors import ConfigurationError, IngestError
from vecdb_rerank.evaluation import live
from vecdb_rerank.evaluation.cache import CachedEmbedder, CachedReranker, score_key
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.ingest.model import IngestReport
from vecdb_rerank.model import Candidate
from vecdb_rerank.request import NONE, Mode
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.arguments import SearchOptions
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.store import Store

Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the number of steps done, and the total."""
_MISSING = (None, NONE, ())  # how a setting says that a collection lacks a branch
Noted = Callable[[str], None]
"""Called with a sentence about the collection or the judgments."""


class EvaluatedConnector(Protocol):
    """What an evaluation needs of a synchronous connector, whichever its database."""

    pipeline: Pipeline

    @property
    def store(self) -> Store[Any]:
        """The collection or index behind its client."""

    def search(self, query: str, **options: Unpack[SearchOptions]) -> object:
        """Return the native response."""

    def candidates(self, response: Any) -> Sequence[Candidate]:
        """Return the hits of a native response."""

    def create(self) -> bool:
        """Create the collection."""

    def add(
        self,
        documents: Iterable[Mapping[str, object]],
        *,
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Add documents."""

    def self_retrieval(self) -> tuple[float, float] | None:
        """Measure how well both branches find stored documents."""

    def delete(self) -> None:
        """Delete the collection."""

    def close(self) -> None:
        """Close the connections."""


@contextmanager
def evaluated_connector(
    settings: Settings,
    dataset: Dataset,
    on_progress: Progress,
    *,
    cache: bool = False,
    scores: Path | None = None,
    on_note: Noted = lambda _: None,
) -> Iterator[EvaluatedConnector]:
    """Yield a connector over the dataset's documents.

    For a live dataset, it is the configured collection: nothing is written to it, and what it lacks
    of the judged documents is told to ``on_note``. Otherwise see `temporary_connector`.
    """
    for note in dataset.notes:
        on_note(note)
    if not dataset.live:
        with temporary_connector(
            settings, dataset, on_progress, cache=cache, scores=scores
        ) as temporary:
            for note in _notes(temporary, dataset):
                on_note(note)
            yield temporary
        return
    connector = factory.build(_unhurried(settings))
    with closing(connector):
        for note in (*live.check(connector.store, dataset), *_notes(connector, dataset)):
            on_note(note)
        if cache:
            _use_cache(connector, settings, scores)
        yield connector


def _notes(connector: EvaluatedConnector, dataset: Dataset) -> list[str]:
    """Return a note if instructions of queries have no place."""
    chain = connector.pipeline.chain
    count = sum(
        query in dataset.info and dataset.info[query].instruction is not None
        for query in dataset.queries
    )
    if not count or chain is None or any(one.takes_instruction for one in chain.rerankers):
        return []
    names = " and ".join(one.name for one in chain.rerankers)
    return [
        f"{count:,} queries have an instruction, which is not sent: {names} has no place for one."
    ]


@contextmanager
def temporary_connector(
    settings: Settings,
    dataset: Dataset,
    on_progress: Progress,
    *,
    cache: bool = False,
    scores: Path | None = None,
) -> Iterator[EvaluatedConnector]:
    """Yield a connector over a new collection that holds the dataset; delete it at the end.

    With ``cache``, the rerankers' scores are kept in the file ``scores`` (default: in the user's
    cache folder).

    Raises `ConfigurationError` if no embedder is configured, `IngestError` if a document cannot be
    stored.
    """
    if settings.embedder.type == "none":
        raise ConfigurationError(
            "embedder", "must be set: an evaluation embeds queries and documents"
        )
    connector: EvaluatedConnector = factory.build(_temporary(settings))
    with closing(connector):
        embedder = connector.pipeline.embedder
        assert embedder is not None
        name = getattr(embedder, "name", repr(embedder))
        with closing(CachedEmbedder(embedder, name)) as cached:
            connector.pipeline = replace(connector.pipeline, embedder=cached)
            if cache:
                _use_cache(connector, settings, scores)
            try:
                size = len(dataset.corpus)
                fill(connector, dataset.corpus, lambda done: on_progress("indexing", done, size))
                yield connector
            finally:
                connector.delete()


def fill(
    connector: EvaluatedConnector,
    documents: Iterable[Mapping[str, object]],
    on_progress: Callable[[int], None],
) -> None:
    """Create the collection and add documents; raise `IngestError` if one is not stored."""
    connector.create()
    report = connector.add(documents, on_progress=on_progress)
    if report.failed:
        first = report.failed[0]
        raise IngestError(
            f"{len(report.failed)} documents were not stored; {first.id}: {first.reason}"
        )


def _use_cache(connector: EvaluatedConnector, settings: Settings, file: Path | None) -> None:
    if connector.pipeline.chain is not None:
        chain = _cached(connector.pipeline.chain, settings, file)
        connector.pipeline = replace(connector.pipeline, chain=chain)


def _cached(chain: Chain, settings: Settings, file: Path | None) -> Chain:
    sections = [section for section in settings.chain if section.type != "none"]
    pairs = zip(chain.rerankers, sections, strict=True)
    return Chain(
        [
            # A listwise reranker's scores depend on the other documents: none can be kept.
            reranker if reranker.listwise else CachedReranker(reranker, score_key(section), file)
            for reranker, section in pairs
        ]
    )


def modes(settings: Settings, dataset: Dataset, named: Sequence[Mode] = ()) -> list[Mode]:
    """Return ``named``, else the modes in which the dataset can be searched, hybrid the last.

    It is one mode if ``search.mode`` names a branch, or if a live collection has only one.

    Raises `ConfigurationError` for a named mode that the collection lacks a branch for.
    """
    searchable = _searchable(settings, dataset)
    for mode in named:
        if mode not in searchable:
            raise ConfigurationError(
                "--modes",
                f"must be {searchable[0]}, got {mode}: the collection is configured without the "
                "other branch",
            )
    if not named and settings.search.mode != "hybrid":
        return [settings.search.mode]
    return list(named) or searchable


def _searchable(settings: Settings, dataset: Dataset) -> list[Mode]:
    fields = settings.backend.model_dump()
    has_dense = fields.get("dense_vector", "") not in _MISSING
    bm25 = (fields.get(name) for name in ("bm25_vector", "text_index", "bm25_fields"))
    has_bm25 = any(value not in _MISSING for value in bm25)
    if not dataset.live or has_dense == has_bm25:
        return ["bm25", "dense", "hybrid"]
    return ["dense" if has_dense else "bm25"]


def _temporary(settings: Settings) -> Settings:
    """Return the settings with a collection of their own.

    The collection has both branches, whatever the configured one lacks.
    """
    own: dict[str, object] = {"collection": f"vecdb-rerank-evaluation-{uuid.uuid4().hex[:8]}"}
    fields = type(settings.backend).model_fields
    for name in {"dense_vector", "bm25_vector", "bm25_fields", "text_index"}.intersection(fields):
        if name == "text_index" or getattr(settings.backend, name) in _MISSING:
            own[name] = fields[name].default
    if isinstance(settings.backend, QdrantSettings) and settings.backend.url is None:
        own["path"] = ":memory:"
    return _unhurried(
        settings.model_copy(update={"backend": settings.backend.model_copy(update=own)})
    )


def _unhurried(settings: Settings) -> Settings:
    """Return the settings without what depends on speed, or drops hits.

    A slow machine must not change the numbers, nor a minimum relevance the first-pass stages.
    """
    policy = replace(settings.policy, deadline=None, min_relevance=None)
    return settings.model_copy(update={"policy": policy})
