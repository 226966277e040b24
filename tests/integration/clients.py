"""Connectors for the integration tests: stand-in models, one client each, closed in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opensearchpy import AsyncTransport, Transport

from tests.contract.backends import opened, opensearch_client, qdrant_client
from vecdb_rerank.testing import HashEmbedder, KeepingReranker

MODELS: dict[str, Any] = {"embedder": HashEmbedder(), "reranker": KeepingReranker()}
Call = Callable[[Any], Any]


class Requests:
    """The requests that went through a client, as ``POST /index/_search``."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def transport(self, asynchronous: bool) -> type:
        """A transport that writes each request down before it makes it."""
        made = self.made
        base: Any = AsyncTransport if asynchronous else Transport

        class Recording(base):  # type: ignore[misc]
            def perform_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
                made.append(f"{method} {url}")
                return super().perform_request(method, url, *args, **kwargs)

        return Recording


@contextmanager
def opensearch(
    name: str, url: str, collection: str, *, client: Any = None, **options: Any
) -> Iterator[tuple[Any, Call]]:
    """An OpenSearch connector and what resolves its calls."""
    with opened(name, client or opensearch_client(name, url)) as backend:
        yield backend.connect(collection, **{**MODELS, **options}), backend.call


@contextmanager
def qdrant(name: str, url: str, collection: str, **options: Any) -> Iterator[tuple[Any, Call]]:
    """A Qdrant connector and what resolves its calls."""
    of_client = {n: options.pop(n) for n in ("api_key", "timeout", "grpc_port") if n in options}
    client = qdrant_client(name, url, check_compatibility=False, **of_client)
    with opened(name, client) as backend:
        yield backend.connect(collection, **{**MODELS, **options}), backend.call
