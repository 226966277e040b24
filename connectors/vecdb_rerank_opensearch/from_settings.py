"""Make an OpenSearch connector and its client from settings."""

from __future__ import annotations

from typing import Any, Unpack

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.config.settings import OpenSearchSettings
from vecdb_rerank.search.arguments import ConnectorOptions
from vecdb_rerank_opensearch.connection import TotalTimeoutConnection
from vecdb_rerank_opensearch.connector import AsyncOpenSearchConnector, OpenSearchConnector


def from_settings(
    settings: OpenSearchSettings, *, use_async: bool = False, **options: Unpack[ConnectorOptions]
) -> OpenSearchConnector | AsyncOpenSearchConnector:
    """Make the connector, asynchronous if ``use_async``; ``options`` are passed on to it."""
    if use_async:
        return AsyncOpenSearchConnector(
            AsyncOpenSearch(**client_options(settings)),
            settings.collection,
            dense_vector=settings.dense_vector,
            bm25_fields=settings.bm25_fields,
            language=settings.language,
            **options,
        )
    return OpenSearchConnector(
        OpenSearch(**client_options(settings), connection_class=TotalTimeoutConnection),
        settings.collection,
        dense_vector=settings.dense_vector,
        bm25_fields=settings.bm25_fields,
        language=settings.language,
        **options,
    )


def client_options(settings: OpenSearchSettings) -> dict[str, Any]:
    """Return the arguments of an OpenSearch client; its own retries are turned off."""
    options: dict[str, Any] = {
        "hosts": [settings.url.removeprefix("//")],  # which the client adds
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
