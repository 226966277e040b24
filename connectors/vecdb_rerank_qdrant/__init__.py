"""Hybrid search and rerank over Qdrant: connectors and drop-in clients.

Names load on first use: importing the package loads no client library, and modules such as
`request_reader` work without one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vecdb_rerank._optional import importing

if TYPE_CHECKING:
    from vecdb_rerank_qdrant.bm25 import Bm25
    from vecdb_rerank_qdrant.connector import (
        AsyncQdrantConnector,
        QdrantConnector,
        QdrantSearchOptions,
    )
    from vecdb_rerank_qdrant.depth import deepen
    from vecdb_rerank_qdrant.reranking_client import (
        AsyncRerankingQdrantClient,
        RerankingQdrantClient,
    )

__all__ = [
    "AsyncQdrantConnector",
    "AsyncRerankingQdrantClient",
    "Bm25",
    "QdrantConnector",
    "QdrantSearchOptions",
    "RerankingQdrantClient",
    "deepen",
]
_MODULES = {
    "AsyncQdrantConnector": "connector",
    "AsyncRerankingQdrantClient": "reranking_client",
    "Bm25": "bm25",
    "QdrantConnector": "connector",
    "QdrantSearchOptions": "connector",
    "RerankingQdrantClient": "reranking_client",
    "deepen": "depth",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with importing("qdrant_client", "qdrant"):
        value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
