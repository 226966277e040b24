"""vecdb_rerank over OpenSearch."""

from vecdb_rerank.optional import importing

with importing("opensearchpy", "opensearch"):
    from vecdb_rerank_opensearch.clients import AsyncRerankingOpenSearch, RerankingOpenSearch
    from vecdb_rerank_opensearch.connector import AsyncOpenSearchConnector, OpenSearchConnector
    from vecdb_rerank_opensearch.widening import widen

__all__ = [
    "AsyncOpenSearchConnector",
    "AsyncRerankingOpenSearch",
    "OpenSearchConnector",
    "RerankingOpenSearch",
    "widen",
]
