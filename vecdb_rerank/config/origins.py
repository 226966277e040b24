"""Origins of web pages: pure."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"([a-z][a-z\d+.-]*)://([\w.-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?", re.A)
_PORTS = {"http": "80", "https": "443"}


def normal(origin: str) -> str:
    """Return an origin in lower case, without the port that its scheme has by default.

    Raises ValueError for anything but SCHEME://HOST or SCHEME://HOST:PORT; so for ``null``, the
    origin of pages that hide theirs.
    """
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None:
        raise ValueError("must be SCHEME://HOST or SCHEME://HOST:PORT, such as https://app.example")
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _PORTS.get(scheme) else "")
