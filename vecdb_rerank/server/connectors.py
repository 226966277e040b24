"""The connectors of a service: one client and one embedder for all its collections."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import NoneSettings, Settings
from vecdb_rerank.protocols import FlowEmbedder
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.connector import AsyncConnector

_SECTIONS = ("backend", "embedder", "text_fields", "search", "policy")


class Connectors:
    """Connectors by collection, made when they are needed; they rerank with ``chain``."""

    def __init__(self, settings: Settings, chain: Chain) -> None:
        self._settings = settings
        self._chain = chain
        self._made: dict[str | None, AsyncConnector[object]] = {}
        self._lock = threading.Lock()

    def fit(self, settings: Settings, chain: Chain) -> bool:
        """Check whether these connectors are those of other settings, too."""
        same = all(getattr(settings, s) == getattr(self._settings, s) for s in _SECTIONS)
        return same and chain is self._chain

    async def find(self, collection: str | None = None) -> AsyncConnector[object]:
        """Return what `get` returns, made in a thread if need be: that may load a model."""
        made = self._made.get(collection)
        return await asyncio.to_thread(self.get, collection) if made is None else made

    def get(self, collection: str | None = None) -> AsyncConnector[object]:
        """Return the connector of a collection, by default the configured one; blocking.

        Raises `ConfigurationError` or `DatabaseError` if it cannot be made.
        """
        with self._lock:
            if None not in self._made:
                self._made[None] = self._connect()
            if collection not in self._made:
                self._made[collection] = self._made[None].of_collection(collection or "")
            return self._made[collection]

    def _connect(self) -> AsyncConnector[object]:
        # The model's own chain, so that the weights, circuits and budgets are shared.
        plain = {"reranker": NoneSettings(), "rerankers": ()}
        connector = factory.build(self._settings.model_copy(update=plain), use_async=True)
        # No watch: what one caller searches must not put notes into the results of another.
        connector.pipeline = replace(connector.pipeline, chain=self._chain, branch_watch=None)
        return connector

    def warmup(self) -> None:
        """Load the model of the embedder; blocking."""
        embedder = self.get().pipeline.embedder
        if embedder is not None and not isinstance(embedder, FlowEmbedder):
            embedder.embed_query("warm up")

    async def close(self) -> None:
        """Close the client and the embedder, but not the chain."""
        with self._lock:
            connector = self._made.pop(None, None)
            self._made.clear()
        if connector is not None:
            connector.pipeline = replace(connector.pipeline, chain=None)
            await connector.close()
