"""URLs of servers: what they must name, and which parts are secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

_ASCII = "".join(map(chr, range(33, 127)))  # the characters of a query that stay as they are
_HOST = re.compile(r"[\w.~-]+|[0-9A-Fa-f:.]+(%[\w.~-]+)?")  # a name, or an address of IPv4 or IPv6


def with_slashes(url: str) -> str:
    """Return ``url`` with ``//`` before the host: else ``h:6333`` has the scheme ``h``."""
    return url if "//" in url else f"//{url}"


def names_server(url: str, schemes: Collection[str] = ("http", "https")) -> bool:
    """Return whether ``url`` has one of the ``schemes``, a host and a usable port, and no spaces.

    Never raise: Python's own messages for a wrong URL quote parts of it, possibly the password.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()  # refuses labels over 63 characters
        return (
            parts.scheme in schemes
            and _HOST.fullmatch(host) is not None
            and parts.port != 0
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return False


def display_url(url: str) -> str:
    """Return scheme, host, port and path of ``url``: no user, password, query or fragment."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


@dataclass(frozen=True, slots=True)
class SplitUrl:
    """A URL in two parts: an address that may be logged, and what must not be.

    ``address`` has neither user, password nor query. ``basic`` is the value of the
    ``Authorization`` header for user and password. ``query`` is the query string, which
    `vecdb_rerank.http.transport` adds below the level at which httpx logs requests. ``secrets``
    are the parts that no message may repeat.
    """

    address: str
    basic: str | None = field(repr=False)
    query: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def split_url(url: str) -> SplitUrl:
    """Return ``url`` with its credentials and query taken out."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = quote(parts.query, safe=_ASCII)
    values = [value for _, value in parse_qsl(query)]
    values += [pair.partition("=")[2] for pair in query.split("&")]  # as a server has them
    basic = None
    if at:
        name, _, password = user.partition(":")
        encoded = base64.b64encode(unquote(user).encode()).decode()
        basic = f"Basic {encoded}"
        # A user without a password is a token, as in https://<token>@host.
        values += [encoded, password or name, unquote(password or name)]
    address = urlunsplit(parts._replace(netloc=host, query="", fragment=""))
    return SplitUrl(address, basic, query, tuple(filter(None, dict.fromkeys(values))))
