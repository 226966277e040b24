"""The connector from settings, with a client of its own."""

from __future__ import annotations

from typing import Any

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.config.settings import OpenSearchSettings
from vecdb_rerank_opensearch.connection import TotalTimeoutConnection
from vecdb_rerank_opensearch.connector import AsyncOpenSearchConnector, OpenSearchConnector


def from_settings(
    settings: OpenSearchSettings, *, use_async: bool = False, **shared: Any
) -> OpenSearchConnector | AsyncOpenSearchConnector:
    """The connector; ``shared`` are the arguments that all connectors take."""
    options = client_options(settings)
    if use_async:
        client: OpenSearch | AsyncOpenSearch = AsyncOpenSearch(**options)
    else:
        client = OpenSearch(**options, connection_class=TotalTimeoutConnection)
    connector = AsyncOpenSearchConnector if use_async else OpenSearchConnector
    return connector(
        client,
        settings.collection,
        dense_vector=settings.dense_vector,
        bm25_fields=settings.bm25_fields,
        language=settings.language,
        **shared,
    )


def client_options(settings: OpenSearchSettings) -> dict[str, Any]:
    """The arguments of an OpenSearch client; its own retries are off, ours are the only ones."""
    options: dict[str, Any] = {
        "hosts": [settings.url],
        "timeout": settings.timeout,
        "max_retries": 0,
        "retry_on_timeout": False,
        "verify_certs": settings.verify is not False,
    }
    if not isinstance(settings.verify, bool):
        options["ca_certs"] = str(settings.verify)
    if settings.user is not None:
        secret = settings.password
        options["http_auth"] = (settings.user, secret.get_secret_value() if secret else "")
    return options
