"""The bases of all connectors: one for synchronous clients, one for asynchronous ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.model import Candidate
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.arguments import AddOptions, SearchOptions
from vecdb_rerank.search.core import Core
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.store import Finding, Store

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Document, IngestReport

ResponseT = TypeVar("ResponseT")


class _Facade(Generic[ResponseT]):
    """What is the same in synchronous and asynchronous connectors."""

    def __init__(self, core: Core[ResponseT]) -> None:
        self._core = core

    @property
    def store(self) -> Store[ResponseT]:
        """The collection or index behind its client."""
        return self._core.store

    @property
    def defaults(self) -> SearchDefaults:
        """What `search` does if the call does not say."""
        return self._core.defaults

    @property
    def pipeline(self) -> Pipeline:
        """What every search goes through: embedder, rerankers, texts and policy."""
        return self._core.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Pipeline) -> None:
        self._core.pipeline = pipeline

    def of_collection(self, name: str) -> Self:
        """Return a connector to another collection of the same layout.

        It shares the client and the models, so close one of the two alone. Raises
        `ConfigurationError` if the database's connector serves one collection alone.
        """
        connector = copy(self)
        connector._core = self._core.of_collection(name)
        return connector

    def candidates(self, response: ResponseT) -> Sequence[Candidate]:
        """Return the hits of a native response in the form shared by all databases."""
        return self._core.candidates(response)


class Connector(_Facade[ResponseT]):
    """Hybrid search over a synchronous client, reranked, in the database's own schema.

    A ``with`` block closes the connector at its end. A subclass makes the `Core` over its store
    and declares the options that its database adds to `search`.
    """

    def search(self, query: str, **options: Unpack[SearchOptions]) -> ResponseT:
        """Search, rerank ``k`` candidates, return ``limit`` of them from ``offset``.

        Options as in `QdrantConnector.search`; ``filter`` is in the database's own terms.
        """
        return run(self._core.search(query, options))

    def create(self) -> bool:
        """Create a collection or index for hybrid search; return False if it exists already.

        Raises `SchemaError` if the existing one does not fit.
        """
        return run(self._core.create())

    def add(
        self, documents: Iterable[Document | Mapping[str, Any]], **options: Unpack[AddOptions]
    ) -> IngestReport:
        """Add documents from any iterable, batch by batch.

        A mapping is stored under its ``_id`` or ``id``, else under a hash of its content, so
        adding it again changes nothing. The report names each document that was not stored.

        Args:
            documents: mappings, or `Document` objects with an id and perhaps a vector.
            batch_size: documents per request (default 64).
            batch_bytes: approximate size of a request (default 8,000,000).
            shard_key: the shard of a Qdrant collection with custom sharding; in OpenSearch the
                routing value.
            give_up_after: seconds to retry a batch while the database does not answer
                (default 120); then `IngestError` is raised.
            on_progress: called with the number of documents done so far.

        Raises `ConfigurationError` for a document whose id is not an int, a str or a UUID.

        """
        return run(self._core.add(documents, **options))

    def warmup(self) -> None:
        """Load the models of the embedder and the rerankers, so that no search waits for them.

        Call it before a server reports that it is ready: the deadline of a search includes
        loading. Nothing is sent to the database or to a remote reranker. Raises
        `ConfigurationError` if a model does not load.
        """
        run(self._core.warmup())

    def check(self) -> list[Finding]:
        """Check the connection, the schema and the stored texts, with a fix for each problem."""
        return run(self._core.check())

    def self_retrieval(self) -> tuple[float, float] | None:
        """Measure how well (bm25, dense) find a stored document by a sentence of it (0 to 1 each).

        The value of `Fusion.self_retrieval`: a branch that hardly finds any counts less. Reads up
        to 256 documents and sends two searches for each of 32, without rerank. None if the mode is
        not ``hybrid``, no embedder is configured, or too few documents hold several sentences.
        """
        return run(self._core.self_retrieval())

    def delete(self) -> None:
        """Delete the collection or index with all its documents."""
        run(self._core.delete())

    def close(self) -> None:
        """Close the rerankers' connections, and the client if the connector owns it.

        It does if `connect` made the client, or with ``close_client=True``.
        """
        run(self._core.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConnector(_Facade[ResponseT]):
    """Hybrid search over an asynchronous client: `Connector` with methods to await.

    An ``async with`` block closes the connector at its end.
    """

    async def search(self, query: str, **options: Unpack[SearchOptions]) -> ResponseT:
        """Search as `Connector.search` does."""
        return await run_async(self._core.search(query, options))

    async def create(self) -> bool:
        """Create a collection or index as `Connector.create` does."""
        return await run_async(self._core.create())

    async def add(
        self, documents: Iterable[Document | Mapping[str, Any]], **options: Unpack[AddOptions]
    ) -> IngestReport:
        """Add documents as `Connector.add` does."""
        return await run_async(self._core.add(documents, **options))

    async def warmup(self) -> None:
        """Load the models as `Connector.warmup` does."""
        await run_async(self._core.warmup())

    async def check(self) -> list[Finding]:
        """Check the connection, the schema and the stored texts as `Connector.check` does."""
        return await run_async(self._core.check())

    async def self_retrieval(self) -> tuple[float, float] | None:
        """Measure how well each branch finds documents as `Connector.self_retrieval` does."""
        return await run_async(self._core.self_retrieval())

    async def delete(self) -> None:
        """Delete the collection or index with all its documents."""
        await run_async(self._core.delete())

    async def close(self) -> None:
        """Close the rerankers' connections, and the client, as `Connector.close` does."""
        await run_async(self._core.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
