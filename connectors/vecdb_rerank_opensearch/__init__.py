"""vecdb_rerank over OpenSearch."""

from vecdb_rerank.optional import importing

with importing("opensearchpy", "opensearch"):
    from vecdb_rerank_opensearch.connector import AsyncOpenSearchConnector, OpenSearchConnector

__all__ = ["AsyncOpenSearchConnector", "OpenSearchConnector"]
