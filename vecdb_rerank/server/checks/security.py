"""What keeps web pages from using the service with their visitor's network: pure checks.

A page can send requests to any address, and by DNS rebinding read the answers of one that does not
look at ``Host``. Nothing here depends on cookies: the service has none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from vecdb_rerank.config.origins import normal
from vecdb_rerank.server.errors import ApiError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Return whether ``host``, a name or an address, is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, hosts: Sequence[str], *, has_keys: bool) -> frozenset[str] | None:
    """Return the names that ``Host`` may have; None for any."""
    if "*" in hosts or (has_keys and not hosts):
        return None
    return frozenset(name.lower().strip("[]") for name in (*LOOPBACK_NAMES, host, *hosts))


def check_host(given: Sequence[str], allowed: Collection[str] | None) -> None:
    """Raise `ApiError` (421) unless there is one ``Host``, and it is allowed."""
    if len(given) != 1:
        raise ApiError(400, "must be given once", field="host")
    if allowed is not None and _hostname(given[0]) not in allowed:
        raise ApiError(421, "is not a name of this service; add it to serve.hosts", field="host")


def _hostname(host: str) -> str | None:
    """Return the name in a ``Host``, in lower case and without its port."""
    try:
        parts = urlsplit(f"//{host}")
        return None if parts.path or parts.username is not None else parts.hostname
    except ValueError:
        return None


def check_origin(given: Sequence[str], own: str, allowed: Collection[str] | None = None) -> None:
    """Raise `ApiError` (403) for a request of a web page that is of another origin.

    ``own`` is the origin of the service as the request names it, and ``allowed`` are `normal` ones,
    None where no others can be allowed. Programs send no ``Origin``; a browser sends one.
    """
    if not given:
        return
    if len(given) != 1:
        raise ApiError(400, "must be given once", field="origin")
    try:
        origin = normal(given[0])
        if origin in (allowed or ()) or origin == normal(own):
            return
    except ValueError:
        pass
    advice = "" if allowed is None else "; add it to serve.origins"
    raise ApiError(403, f"is another origin{advice}", field="origin")


def check_content_type(given: str | None) -> None:
    """Raise `ApiError` (415) for a body that is not declared as JSON.

    A page may send other types to any site without asking it first.
    """
    kind = (given or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "must be application/json", field="content-type")
