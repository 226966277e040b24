"""The requests to one rerank service: where they go, and what they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote_plus

import httpx

from vecdb_rerank._checks import checked_body, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.http.headers import check_headers, check_texts, has_header, secrets_in
from vecdb_rerank.http.service import checked_url, clean_key
from vecdb_rerank.http.transport import SECRET_QUERY
from vecdb_rerank.http.urls import split_url
from vecdb_rerank.rerankers.wire_format import WireFormat
from vecdb_rerank.rerankers.wire_formats import FORMATS
from vecdb_rerank.rerankers.wire_request import (
    ScoreRequest,
    endpoint,
    merged_query,
    one_address,
    request_body,
)
from vecdb_rerank.rerankers.wire_template import names

Urls = str | Sequence[str] | None
_TEXTS = {"query", "queries", "document", "documents"}  # placeholders


@dataclass(frozen=True)
class Messages:
    """Makes the requests; raise `ConfigurationError` for arguments that no request could have.

    ``url`` and ``endpoint`` are those of `HttpReranker`, of which one is given; the others, too.
    """

    wire: WireFormat
    url: Urls = field(repr=False)
    endpoint: Urls = field(repr=False)
    model: str | None
    api_key: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query_params: Mapping[str, str] = field(repr=False)
    extra_body: Mapping[str, object] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", clean_key(self.api_key))
        check_headers(self.headers, of_key=self.wire.auth_header if self.api_key else None)
        check_texts("query_params", self.query_params)
        own = {key for key, value in self.wire.body.items() if names(value) & _TEXTS}
        checked_body(self.extra_body, own=own)
        self.urls  # noqa: B018 - checks them

    @cached_property
    def urls(self) -> tuple[str, ...]:
        """The addresses to post to."""
        one_address(self.url, self.endpoint)
        key, given = ("endpoint", self.endpoint) if self.url is None else ("url", self.url)
        several = [given] if isinstance(given, str) else given
        if not isinstance(several, Sequence) or not several:
            raise ConfigurationError(key, f"must be a url, or several; got {shown(given)}")
        checked = [checked_url(one, key) for one in several]
        if key == "endpoint":
            return tuple(checked)
        return tuple(endpoint(one, self.wire.path, self.model) for one in checked)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        found = [secret for url in self.urls for secret in split_url(url).secrets]
        headers, parameters = [*self.headers.values()], self.query_params.values()
        if not any(self.wire is public for public in FORMATS.values()):
            headers += self.wire.headers.values()
        found += secrets_in((*headers, *parameters, *map(quote_plus, parameters)))
        return tuple(dict.fromkeys(filter(None, (self.api_key, *found))))

    @property
    def have_credentials(self) -> bool:
        """Whether there is a key, or a header in its place."""
        return self.api_key is not None or has_header(self.headers, self.wire.auth_header)

    def message(
        self, url: str, request: ScoreRequest, page: str | None = None
    ) -> tuple[httpx.Request, str]:
        """Return the request to ``url``, and its query string, which is kept out of logs.

        ``page`` is the token of a further page of results.
        """
        split = split_url(url)
        headers = httpx.Headers(dict(self.wire.headers))  # names in whatever case
        headers.update(dict(self.headers))
        if self.api_key:
            headers[self.wire.auth_header] = f"{self.wire.auth_prefix}{self.api_key}"
        elif split.basic:
            headers.setdefault("Authorization", split.basic)
        body = {**request_body(request, self.wire), **self.extra_body}
        if page is not None and self.wire.next_page is not None:
            body[self.wire.next_page] = page
        query = merged_query(split.query, self.query_params)
        message = httpx.Request(
            "POST", split.address, json=body, headers=headers, extensions={SECRET_QUERY: query}
        )
        return message, query
