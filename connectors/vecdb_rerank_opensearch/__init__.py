"""vecdb_rerank over OpenSearch."""

from vecdb_rerank._optional import importing

with importing("opensearchpy", "opensearch"):
    from vecdb_rerank_opensearch.connector import AsyncOpenSearchConnector, OpenSearchConnector
    from vecdb_rerank_opensearch.deepen import deepen
    from vecdb_rerank_opensearch.reranking_client import (
        AsyncRerankingOpenSearch,
        RerankingOpenSearch,
    )

__all__ = [
    "AsyncOpenSearchConnector",
    "AsyncRerankingOpenSearch",
    "OpenSearchConnector",
    "RerankingOpenSearch",
    "deepen",
]
