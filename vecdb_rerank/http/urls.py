"""What a URL must be to name a server."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def names_server(url: str, schemes: Collection[str] = ("http", "https")) -> bool:
    """Whether ``url`` has one of the ``schemes``, a host and a usable port.

    Never raises: Python's own words for a wrong URL quote parts of it, maybe the password.
    """
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
