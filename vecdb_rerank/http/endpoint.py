"""Where the requests to a service go: its address, its key, and which of it must stay secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx

from vecdb_rerank._checks import check_type
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

    @classmethod
    def of(
        cls, url: str, key: str | None, *, header: str = "Authorization", prefix: str = "Bearer "
    ) -> Endpoint:
        """Return the endpoint at ``url``, with the key or else the user and password in ``url``.

        Raise `ConfigurationError` for a key that no header can hold.
        """
        key, split = clean_key(key), split_url(url)
        headers = {} if split.basic is None else {"Authorization": split.basic}
        if key is not None:
            headers = {header: f"{prefix}{key}"}
        secrets = (*split.secrets, *([key] if key else []))
        return cls(split.address, split.query, headers, secrets)

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


def openai_endpoint(
    url: str, path: str, key: str | None = None, api_version: str | None = None
) -> Endpoint:
    """Return where an OpenAI-compatible server takes requests for ``path``.

    ``url`` is the server's base, as in OpenAI's own client, or ends in ``path`` already; a bare
    host gets ``/v1``. With an ``api_version``, which Azure's deployments need, it is a parameter of
    the address, and the key is in the header ``api-key``.

    Raise `ConfigurationError` for a wrong argument.
    """
    check_type("api_version", api_version, str)
    parts = urlsplit(checked_url(url))
    base = parts.path.rstrip("/").removesuffix(path) or "/v1"
    query = parts.query
    if api_version is not None:
        query = "&".join(filter(None, (query, urlencode({"api-version": api_version}))))
    address = urlunsplit(parts._replace(path=base + path, query=query, fragment=""))
    header = ("Authorization", "Bearer ") if api_version is None else ("api-key", "")
    return Endpoint.of(address, key, header=header[0], prefix=header[1])
