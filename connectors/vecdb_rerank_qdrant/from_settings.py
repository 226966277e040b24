"""Make a Qdrant connector from settings, with a client of its own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar, Unpack

from qdrant_client import AsyncQdrantClient, QdrantClient

from vecdb_rerank.config.settings import QdrantSettings
from vecdb_rerank.errors import DatabaseError
from vecdb_rerank.search.arguments import ConnectorOptions
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.connector import AsyncQdrantConnector, QdrantConnector

ClientT = TypeVar("ClientT")

EMBEDDED = ".vecdb_rerank/qdrant"


def from_settings(
    settings: QdrantSettings, *, use_async: bool = False, **options: Unpack[ConnectorOptions]
) -> QdrantConnector | AsyncQdrantConnector:
    """Make the connector, asynchronous if ``use_async``; ``options`` are passed on to it."""
    bm25 = Bm25(**asdict(settings.bm25), language=settings.language)
    if use_async:
        return AsyncQdrantConnector(
            _open(AsyncQdrantClient, settings),
            settings.collection,
            dense_vector=settings.dense_vector,
            bm25_vector=settings.bm25_vector,
            bm25=bm25,
            **options,
        )
    return QdrantConnector(
        _open(QdrantClient, settings),
        settings.collection,
        dense_vector=settings.dense_vector,
        bm25_vector=settings.bm25_vector,
        bm25=bm25,
        **options,
    )


def _open(kind: Callable[..., ClientT], settings: QdrantSettings) -> ClientT:
    options = client_options(settings)
    try:
        return kind(**options)
    except (RuntimeError, OSError) as error:
        # The folder of an embedded Qdrant is open elsewhere, or it is not a folder.
        raise DatabaseError(f"Qdrant at {options.get('path')}: {error}") from error


def client_options(settings: QdrantSettings) -> dict[str, Any]:
    """Return the arguments of a Qdrant client; without a URL it is embedded, in a local folder."""
    if settings.url is None:
        path = settings.path or EMBEDDED
        if str(path) == ":memory:":
            return {"location": ":memory:", "force_disable_check_same_thread": True}
        return {"path": str(path), "force_disable_check_same_thread": True}
    key = settings.api_key
    return {
        "url": settings.url,
        "api_key": None if key is None else key.get_secret_value(),
        "prefer_grpc": settings.prefer_grpc,
        "grpc_port": settings.grpc_port,
        "timeout": max(1, round(settings.timeout)),
        "check_compatibility": False,  # `doctor` checks it; making a client must send nothing
        **({} if settings.verify is True else {"verify": _verify(settings)}),
    }


def _verify(settings: QdrantSettings) -> bool | ssl.SSLContext:
    if isinstance(settings.verify, bool):
        return settings.verify
    return ssl.create_default_context(cafile=settings.verify)
