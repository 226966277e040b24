"""Make a Qdrant connector and its client from settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypedDict, TypeVar, Unpack

import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank.config.settings import QdrantSettings
from vecdb_rerank.errors import DatabaseError
from vecdb_rerank.http.urls import with_slashes
from vecdb_rerank.search.arguments import ConnectorOptions
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.connector import AsyncQdrantConnector, QdrantConnector
from vecdb_rerank_qdrant.transport import AsyncTotalTimeoutTransport, TotalTimeoutTransport

ClientT = TypeVar("ClientT")


class _Layout(TypedDict):
    """The arguments of a connector that say where a collection keeps what."""

    dense_vector: str | None
    bm25_vector: str | None
    text_index: str | None
    bm25: Bm25


def from_settings(
    settings: QdrantSettings, *, use_async: bool = False, **options: Unpack[ConnectorOptions]
) -> QdrantConnector | AsyncQdrantConnector:
    """Make the connector, asynchronous if ``use_async``; ``options`` are passed on to it."""
    layout: _Layout = {
        "dense_vector": settings.dense_vector,
        "bm25_vector": settings.bm25_vector,
        "text_index": settings.text_index,
        "bm25": Bm25(**asdict(settings.bm25), language=settings.language),
    }
    if use_async:
        client = _open(AsyncQdrantClient, settings, use_async=True)
        return AsyncQdrantConnector(client, settings.collection, **layout, **options)
    return QdrantConnector(_open(QdrantClient, settings), settings.collection, **layout, **options)


def _open(
    kind: Callable[..., ClientT], settings: QdrantSettings, *, use_async: bool = False
) -> ClientT:
    options = client_options(settings, use_async=use_async)
    try:
        return kind(**options)
    except (RuntimeError, OSError) as error:
        # The folder of an embedded Qdrant is open elsewhere, or it is not a folder.
        locked = "; stop the other program" if "already accessed" in str(error) else ""
        raise DatabaseError(f"Qdrant at {options.get('path')}: {error}{locked}") from error


def client_options(settings: QdrantSettings, *, use_async: bool = False) -> dict[str, Any]:
    """Return the arguments of a Qdrant client; without a URL it is embedded, in a local folder.

    ``backend.timeout`` limits a whole REST request (see `vecdb_rerank_qdrant.transport`).
    """
    if settings.url is None:
        folder = settings.folder
        where = {"location": ":memory:"} if folder is None else {"path": str(folder)}
        return {**where, "force_disable_check_same_thread": True}
    key = settings.api_key
    transport = AsyncTotalTimeoutTransport if use_async else TotalTimeoutTransport
    return {
        "url": with_slashes(settings.url),
        "api_key": None if key is None else key.get_secret_value(),
        "prefer_grpc": settings.prefer_grpc,
        "grpc_port": settings.grpc_port,
        "timeout": max(1, round(settings.timeout)),
        "check_compatibility": False,  # `doctor` checks it; making a client must send nothing
        "transport": transport(_context(settings)),
    }


def _context(settings: QdrantSettings) -> ssl.SSLContext:
    if isinstance(settings.verify, bool):
        return httpx.create_ssl_context(verify=settings.verify)
    return ssl.create_default_context(cafile=settings.verify)
