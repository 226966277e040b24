"""Hybrid search and rerank over OpenSearch: connectors and drop-in clients.

Names load on first use: importing the package loads no client library, and modules such as
`request_reader` work without one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vecdb_rerank._optional import importing

if TYPE_CHECKING:
    from vecdb_rerank_opensearch.connector import (
        AsyncOpenSearchConnector,
        OpenSearchConnector,
        OpenSearchSearchOptions,
    )
    from vecdb_rerank_opensearch.depth import deepen
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
_MODULES = {
    "AsyncOpenSearchConnector": "connector",
    "AsyncRerankingOpenSearch": "reranking_client",
    "OpenSearchConnector": "connector",
    "OpenSearchSearchOptions": "connector",
    "RerankingOpenSearch": "reranking_client",
    "deepen": "depth",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with importing("opensearchpy", "opensearch"):
        value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
