"""vecdb_rerank over Qdrant."""

from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.connector import AsyncQdrantConnector, QdrantConnector

__all__ = ["AsyncQdrantConnector", "Bm25", "QdrantConnector"]
