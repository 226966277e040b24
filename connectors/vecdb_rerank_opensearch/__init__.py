"""Hybrid search and rerank over OpenSearch: connectors and drop-in clients."""

from vecdb_rerank._optional import importing

with importing("opensearchpy", "opensearch"):
    from vecdb_rerank_opensearch.connector import (
        AsyncOpenSearchConnector,
        OpenSearchConnector,
        OpenSearchSearchOptions,
    )
    from vecdb_rerank_opensearch.deepen import deepen
    from vecdb_rerank_opensearch.reranking_client import (
        AsyncRerankingOpenSearch,
        RerankingOpenSearch,
    )

__all__ = [
    "AsyncOpenSearchConnector",
    "AsyncRerankingOpenSearch",
    "OpenSearchConnector",
    "OpenSearchSearchOptions",
    "RerankingOpenSearch",
    "deepen",
]
