"""Where the requests to a service go: its address, its key, and which of it must stay secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx

from vecdb_rerank.http.headers import check_headers, has_header, secrets_in
from vecdb_rerank.http.service import checked_url, clean_key
from vecdb_rerank.http.transport import SECRET_QUERY
from vecdb_rerank.http.urls import display_url, split_url


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to post to, which may be logged, and what requests have that may not.

    ``query`` is a query string. ``headers`` hold the key. No message may repeat a ``secret``.
    """

    address: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The address as messages name it."""
        return display_url(self.address)

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.address).netloc

    def post(self, body: Mapping[str, object]) -> httpx.Request:
        """Return the request that posts ``body`` as JSON."""
        return httpx.Request(
            "POST",
            self.address,
            json=dict(body),
            headers=dict(self.headers),
            extensions={SECRET_QUERY: self.query},
        )


def endpoint(
    url: str,
    path: str,
    key: str | None = None,
    *,
    version: str = "/v1",
    headers: Mapping[str, str] | None = None,
) -> Endpoint:
    """Return where a service takes requests for ``path``, such as ``/embeddings``.

    ``url`` is the service's base, or ends in ``path`` already; a bare host gets ``version``. A url
    with the parameter ``api-version`` is one of Azure's, whose key is in the header ``api-key``.
    ``headers`` are further ones, such as those of a gateway; their values are secret.

    Raise `ConfigurationError` for a url that names no server, and headers that cannot be sent.
    """
    parts = urlsplit(checked_url(url))
    base = parts.path.rstrip("/").removesuffix(path) or version
    address = urlunsplit(parts._replace(path=base + path, fragment=""))
    is_azure = "api-version" in parse_qs(parts.query)
    header, prefix = ("api-key", "") if is_azure else ("Authorization", "Bearer ")
    key, split = clean_key(key), split_url(address)
    further = headers or {}
    check_headers(further, of_key=header if key else None)
    sent = {}
    if key is not None:
        sent = {header: f"{prefix}{key}"}
    elif split.basic is not None and not has_header(further, "Authorization"):
        sent = {"Authorization": split.basic}
    secrets = (*split.secrets, *([key] if key else []), *secrets_in(further.values()))
    return Endpoint(split.address, split.query, {**sent, **further}, secrets)
