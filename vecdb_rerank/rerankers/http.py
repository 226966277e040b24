"""A reranker behind HTTP: TEI, Jina AI, Voyage AI, and servers with Cohere's API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import get_args
from urllib.parse import urlsplit

import httpx

from vecdb_rerank._checks import check_type, one_of, shown
from vecdb_rerank.errors import ConfigurationError, RerankerSkippedError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, race
from vecdb_rerank.http.client_pool import Verify
from vecdb_rerank.http.failover import UrlRotation
from vecdb_rerank.http.json_client import MAX_RESPONSE_BYTES, JsonClient
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.service import checked_body, checked_url, clean_key
from vecdb_rerank.http.transport import SECRET_QUERY
from vecdb_rerank.http.urls import display_url, split_url
from vecdb_rerank.rerankers.remote import RemoteOptions, RemoteReranker
from vecdb_rerank.rerankers.wire_formats import (
    FORMATS,
    FormatName,
    Reply,
    Scale,
    ScoreRequest,
    endpoint,
    request_body,
)
from vecdb_rerank.resilience.latency import LatencyModel
from vecdb_rerank.resilience.ledger import keep_reservation, reserve_more


class HttpReranker(RemoteReranker):
    """Scores documents by a server.

    Args:
        url: the server's address, or several of the same service. The next one is called if one
            fails, unless it refused the documents, and each has its share of the time left. One
            that failed is called last for 10 s. A query string is sent and never logged.
        format: the server's wire format, such as ``cohere`` (/v2/rerank), ``cohere_v1``
            (/v1/rerank) or ``tei``.
        model: the model's name, which all formats but ``tei`` need.
        api_key: sent in the header that the format names, such as a bearer token; user and
            password in the url are sent as basic authentication.
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: retries per url on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request (default: what the format allows); the requests of one
            call are made one after another.
        batch_tokens: estimated tokens per request, the query counted with each document (default:
            100,000 for ``voyage``, which its newer models exceed; no limit for other formats).
        scale: what the server's numbers are: ``relevance`` (0 to 1) or ``logits``, which the
            sigmoid maps to 0 to 1 (default: the format's; llama.cpp answers with logits).
        extra_body: further keys of each request's body, such as ``max_tokens_per_doc``,
            ``truncate_prompt_tokens`` (vLLM), ``truncation`` (Voyage) or ``truncate`` (TEI).
        hedge: send the request to a second url, too, if the first takes longer than 95 % of the
            last calls did; the first response counts, and the other request is cancelled (Dean and
            Barroso, The Tail at Scale, 2013). A service may bill both.
        http2: use HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.
        max_response_bytes: the size of a response, before and after decompression, above which it
            is an error.

    Raises `ConfigurationError` for wrong arguments; scoring raises `RerankError` or
    `RerankTimeoutError`.

    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        format: FormatName = "cohere",
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        scale: Scale | None = None,
        extra_body: Mapping[str, object] | None = None,
        hedge: bool = False,
        http2: bool = False,
        verify: Verify = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        urls = [url] if isinstance(url, str) else url
        _check(urls, format, model, scale)
        wire = FORMATS[format]
        key = clean_key(api_key)
        self._urls = [endpoint(checked_url(given), wire.path) for given in urls]
        secrets = [secret for each in self._urls for secret in split_url(each).secrets]
        super().__init__(
            wire,
            scale or wire.scale,
            RemoteOptions(
                timeout=timeout,
                retries=retries,
                batch_size=wire.max_documents if batch_size is None else batch_size,
                batch_tokens=wire.max_tokens if batch_tokens is None else batch_tokens,
                max_response_bytes=max_response_bytes,
            ),
            tuple(filter(None, (key, *secrets))),
        )
        self._key = key
        self._rotation = UrlRotation(self._urls)
        self._model = model
        if hedge and len(self._urls) < 2:
            raise ConfigurationError("hedge", "needs a second url")
        self._hedge = hedge
        self._latency = LatencyModel(self.name, warns=False)
        self._extra_body = checked_body(extra_body or {})
        self._client = JsonClient(http2=http2, verify=verify, max_bytes=max_response_bytes)

    @property
    def name(self) -> str:
        """``http:``, the first server's host and port, and the model if it has a name."""
        host = urlsplit(self._urls[0]).netloc.rpartition("@")[2]
        return f"http:{host}/{self._model}" if self._model else f"http:{host}"

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from self._client.closing()

    def _send(
        self, query: str, batch: Sequence[str], retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        request = ScoreRequest(self._model, query, batch, self._scale)
        after = self._latency.p95() if self._hedge else None
        first, *others = urls = self._rotation.order()
        if after is None:
            return (yield from self._ask_in_turn(urls, request, retries, deadline))
        begun: list[bool] = []

        def second() -> Flow[Reply]:
            begun.append(True)
            units = self._units(query, batch)
            if not reserve_more(units):
                raise RerankerSkippedError("a budget allows no second request")
            keep_reservation(units)  # one of the two is cancelled and may be billed
            return (yield from self._ask_in_turn(others, request, retries, deadline))

        try:
            return (
                yield from race(
                    lambda: self._ask_in_turn([first], request, retries, deadline), second, after
                )
            )
        except (ServiceError, TimeoutError) as error:
            if begun or _is_final(error, deadline):
                raise
            return (yield from self._ask_in_turn(others, request, retries, deadline))

    def _ask_in_turn(
        self, urls: Sequence[str], request: ScoreRequest, retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        """Return the answer of the first url that gives one; each has its share of the time."""
        *others, last = urls
        for left, url in zip(range(len(urls), 1, -1), others, strict=True):
            share = deadline.at_most(deadline.remaining() / left)
            try:
                return (yield from self._ask(url, request, retries, share))
            except (ServiceError, TimeoutError) as error:
                if _is_final(error, deadline):
                    raise
        return (yield from self._ask(last, request, retries, deadline))

    def _ask(
        self, url: str, request: ScoreRequest, retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        where = display_url(url)
        sent = (request.query, *request.documents)

        def attempt(soon: Deadline) -> Flow[Reply]:
            return self._client.exchange(
                self._service,
                self._message(url, request),
                lambda body: self._reply(body, where, request, soon),
                where,
                sent,
                soon,
            )

        started = time.monotonic()
        scored = 0
        try:
            answer = yield from self._attempts(attempt, request, where, retries, deadline)
            scored = len(request.documents)
            self._rotation.answered(url)
        except (ServiceError, TimeoutError) as error:
            if not _rejects_request(error):
                self._rotation.failed(url, error)
            raise
        finally:  # also if the other url was quicker, so that a slow one is known to be slow
            seconds = time.monotonic() - started
            self._latency.record(len(request.documents), seconds, scored=scored)
        return answer

    def _message(self, url: str, request: ScoreRequest) -> httpx.Request:
        split = split_url(url)
        headers = {}
        if self._key:
            headers[self._wire.auth_header] = f"{self._wire.auth_prefix}{self._key}"
        elif split.basic:
            headers["Authorization"] = split.basic
        return httpx.Request(
            "POST",
            split.address,
            json={**request_body(request, self._wire), **self._extra_body},
            headers=headers,
            extensions={SECRET_QUERY: split.query},
        )


def _is_final(error: Exception, deadline: Deadline) -> bool:
    """Return whether another url would refuse the request, too, or be too late."""
    return _rejects_request(error) or deadline.expired


def _rejects_request(error: Exception) -> bool:
    """Check whether the request was refused, which implies nothing about the url."""
    return isinstance(error, ServiceError) and error.request_rejected


def _check(urls: Sequence[str], format: FormatName, model: str | None, scale: str | None) -> None:
    one_of("format", format, FORMATS)
    if not isinstance(urls, Sequence) or not urls:
        raise ConfigurationError("url", f"must be a url, or several; got {shown(urls)}")
    for url in urls:
        checked_url(url)
    check_type("model", model, str)
    if not model and FORMATS[format].model is not None:
        raise ConfigurationError("model", f"the format {format!r} needs the model's name")
    if scale is not None:
        one_of("scale", scale, get_args(Scale))
