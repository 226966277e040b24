"""What a Qdrant client says about itself: where it sends requests, and for how long it waits."""

from __future__ import annotations

import math
import re
from pathlib import Path
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, QdrantClient

Client = QdrantClient | AsyncQdrantClient

DEFAULT_TIMEOUT = 5.0  # seconds; of a client that was made without one


def is_local(client: Client) -> bool:
    """Check whether the client is Qdrant's local mode, in memory or on disk."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def is_grpc(client: Client) -> bool:
    """Check whether the client uses gRPC."""
    return bool(client.init_options.get("prefer_grpc")) and not is_local(client)


def timeout(client: Client) -> float:
    """Return the seconds that the client gives one request."""
    given = client.init_options.get("timeout")
    return DEFAULT_TIMEOUT if given is None else float(max(1, math.ceil(given)))


def address(client: Client) -> str:
    """Return the client's address, without a user and password."""
    options = client.init_options
    if options.get("path") is not None:
        return str(Path(options["path"]).absolute())
    given = [options.get(name) for name in ("url", "location", "host")]
    where = str(next((g for g in given if g is not None), "localhost"))
    return re.sub(r"(?<=//)[^/@]*@", "", where)


def grpc_address(client: Client) -> str:
    """Return the host and port of a gRPC client."""
    where = address(client)
    host = urlsplit(where if "//" in where else f"//{where}").hostname or "localhost"
    return f"{host}:{client.init_options.get('grpc_port', 6334)}"
