"""What the head of a request must not say: a pure check, beyond that of the HTTP parser.

Two servers in a row that read a head differently can be made to see different requests in the same
bytes (request smuggling). llhttp refuses most of what can be read in two ways: ``Content-Length``
beside ``Transfer-Encoding``, either of them twice, bare CR and LF, folded headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

Headers = Iterable[tuple[bytes, bytes]]


def problem(version: str, method: bytes, target: bytes, headers: Headers) -> str | None:
    """Return why a request is refused, or None; the names of ``headers`` are in lower case."""
    found: dict[bytes, list[bytes]] = {b"host": [], b"transfer-encoding": []}
    for name, value in headers:
        if name in found:
            found[name].append(value)
    hosts, encodings = found[b"host"], found[b"transfer-encoding"]
    if version not in ("1.0", "1.1"):
        return "send HTTP 1.1 or 1.0"
    if encodings and (version == "1.0" or [one.lower() for one in encodings] != [b"chunked"]):
        return "the only Transfer-Encoding is chunked, in HTTP 1.1"
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return "one Host is needed"
    if method == b"CONNECT":
        return "this is not a proxy"
    if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        return _absolute(target, hosts)
    return None


def _absolute(target: bytes, hosts: list[bytes]) -> str | None:
    """Return the problem of an absolute-form target, which a client may send instead of a path."""
    try:
        parts = urlsplit(target.decode("ascii"))
    except ValueError:
        return "the target is not a URL"
    if parts.scheme.lower() not in ("http", "https") or not parts.path.startswith("/"):
        return "the target must be a path"
    if [parts.netloc.lower().encode()] != [host.lower() for host in hosts]:
        return "the target and Host name different servers"
    return None
