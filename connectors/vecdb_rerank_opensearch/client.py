"""What an OpenSearch client says about itself: where it sends requests, and how long it waits."""

from __future__ import annotations

import math

from opensearchpy import AsyncOpenSearch, OpenSearch

Client = OpenSearch | AsyncOpenSearch

DEFAULT_TIMEOUT = 10.0  # seconds; of a client that was made without one


def address(client: Client) -> str:
    """Return the URL of a client's first host, without its credentials."""
    hosts = client.transport.hosts or [{"host": "localhost"}]
    host = hosts[0]
    scheme = "https" if host.get("use_ssl") or host.get("scheme") == "https" else "http"
    return f"{scheme}://{host.get('host', 'localhost')}:{host.get('port', 9200)}"


def timeout(client: Client) -> float:
    """Return the seconds that the client gives one request."""
    given = client.transport.kwargs.get("timeout", DEFAULT_TIMEOUT)
    return math.inf if given is None else float(given)
