"""vecdb_rerank over Qdrant."""

from vecdb_rerank._optional import importing

with importing("qdrant_client", "qdrant"):
    from vecdb_rerank_qdrant.bm25 import Bm25
    from vecdb_rerank_qdrant.connector import AsyncQdrantConnector, QdrantConnector
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
    "RerankingQdrantClient",
    "deepen",
]
