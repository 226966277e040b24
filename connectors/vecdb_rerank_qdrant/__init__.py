"""vecdb_rerank over Qdrant."""

from vecdb_rerank.optional import importing

with importing("qdrant_client", "qdrant"):
    from vecdb_rerank_qdrant.bm25 import Bm25
    from vecdb_rerank_qdrant.clients import AsyncRerankingQdrantClient, RerankingQdrantClient
    from vecdb_rerank_qdrant.connector import AsyncQdrantConnector, QdrantConnector
    from vecdb_rerank_qdrant.widening import widen

__all__ = [
    "AsyncQdrantConnector",
    "AsyncRerankingQdrantClient",
    "Bm25",
    "QdrantConnector",
    "RerankingQdrantClient",
    "widen",
]
