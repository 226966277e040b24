"""Hybrid search and rerank over Qdrant: connectors and drop-in clients."""

from vecdb_rerank._optional import importing

with importing("qdrant_client", "qdrant"):
    from vecdb_rerank_qdrant.bm25 import Bm25
    from vecdb_rerank_qdrant.connector import (
        AsyncQdrantConnector,
        QdrantConnector,
        QdrantSearchOptions,
    )
    from vecdb_rerank_qdrant.deepen import deepen
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
