"""A reranker behind HTTP: TEI, Jina AI, Voyage AI, and servers that speak Cohere's API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, get_args
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpcore
import httpx

from vecdb_rerank.candidates import Scores
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.errors import ConfigurationError, RerankError, RerankTimeoutError
from vecdb_rerank.flow import Flow, Request, run
from vecdb_rerank.rerankers.formats import FORMATS, FormatName, endpoint, scores
from vecdb_rerank.retry import ServiceError, is_passing, retry, retry_after, within
from vecdb_rerank.transport import AsyncDeadlineTransport, DeadlineTransport, until


class HttpReranker:
    """Scores documents by a server.

    Args:
        url: the server's address, or several of the same service: the next one is asked when one
            fails in a way that may pass.
        format: what the server speaks: ``cohere`` (/v2/rerank), ``cohere_v1`` (/v1/rerank),
            ``jina``, ``tei`` or ``voyage``.
        model: the model's name, which all formats but ``tei`` need.
        api_key: sent as a bearer token.
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: further tries per url on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request (default: what the format allows).
        http2: speak HTTP/2 (needs the ``h2`` package).
        verify: check TLS certificates; or the file of an authority to trust.

    Raises `ConfigurationError` for wrong arguments; scoring raises `RerankError` or
    `RerankTimeoutError`.

    """

    keeps_deadline = True

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
        http2: bool = False,
        verify: bool | str = True,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        _check(urls, format, model, timeout, retries, batch_size)
        self._wire = FORMATS[format]
        self._urls = [endpoint(given, self._wire.path) for given in urls]
        self._model = model
        self._key = api_key
        self._timeout = timeout
        self._retries = retries
        self._batch_size = batch_size or self._wire.batch_size
        self._transport: dict[str, Any] = {"http2": http2, "verify": verify}
        # The deadline of each call is the only timeout: httpx's own would end it after 5 s.
        self._client = httpx.Client(transport=DeadlineTransport(**self._transport), timeout=None)
        # A connection belongs to the event loop that opened it.
        self._async_clients: WeakKeyDictionary[Any, httpx.AsyncClient] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """``http:`` and the first server's host."""
        return f"http:{urlsplit(self._urls[0]).hostname}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Relevance of each document, 0 to 1."""
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """`score` as a flow, for both colours."""
        found: list[float] = []
        for start in range(0, len(documents), self._batch_size):
            batch = documents[start : start + self._batch_size]
            found += yield from self._scored(query, batch, deadline)
        return Scores.from_relevance(found)

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield Request(self._client.close, self._close_async)

    def _scored(self, query: str, batch: Sequence[str], deadline: Deadline) -> Flow[list[float]]:
        body = self._wire.body(self._model, query, batch)
        *others, last = self._urls
        for url in others:
            try:
                return (yield from self._asked(url, body, len(batch), deadline))
            except ServiceError as error:
                if not error.passing or deadline.expired:
                    raise
        return (yield from self._asked(last, body, len(batch), deadline))

    def _asked(self, url: str, body: Any, count: int, deadline: Deadline) -> Flow[list[float]]:
        def attempt() -> Flow[list[float]]:
            soon = Deadline(min(deadline.ends_at, time.monotonic() + self._timeout))
            request = httpx.Request("POST", url, json=body, headers=self._headers())
            try:
                response: httpx.Response = yield Request(
                    lambda: self._send(request, soon), lambda: self._send_async(request, soon)
                )
            except (httpcore.TimeoutException, httpx.TimeoutException, TimeoutError) as error:
                if deadline.expired:
                    raise RerankTimeoutError(f"{_where(url)} did not answer in time") from error
                raise ServiceError(f"{_where(url)} did not answer in time", passing=True) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, httpx.TransportError) as error:
                why = f"{_where(url)} cannot be reached ({type(error).__name__}: {error})"
                raise ServiceError(why, passing=True) from error
            return self._read(response, url, count)

        return (yield from retry(attempt, within(deadline, self._retries)))

    def _read(self, response: httpx.Response, url: str, count: int) -> list[float]:
        status = response.status_code
        if status != httpx.codes.OK:
            raise ServiceError(
                f"{_where(url)} answered {status}{_advice(status)}{self._reason(response)}",
                passing=is_passing(status),
                retry_after=retry_after(response.headers.get("retry-after")),
            )
        try:
            answer = json.loads(response.content)
        except ValueError as error:
            raise ServiceError(f"{_where(url)} answered with something that is no JSON") from error
        try:
            return scores(answer, count, self._wire)
        except RerankError as error:
            raise ServiceError(f"{_where(url)}: {error}") from error

    def _reason(self, response: httpx.Response) -> str:
        """The beginning of what the server said, without our key."""
        text = " ".join(response.text.split())[:200]
        if self._key:
            text = text.replace(self._key, "***")
        return f": {text}" if text else ""

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _send(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return self._client.send(request)

    async def _send_async(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return await self._async_client().send(request)

    def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            transport = AsyncDeadlineTransport(**self._transport)
            client = httpx.AsyncClient(transport=transport, timeout=None)
            self._async_clients[loop] = client
        return client

    async def _close_async(self) -> None:
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self._client.close()


def _check(
    urls: Sequence[str],
    format: str,
    model: str | None,
    timeout: float,
    retries: int,
    batch_size: int | None,
) -> None:
    if format not in get_args(FormatName):
        raise ConfigurationError(f"format: {format!r} is none of {', '.join(get_args(FormatName))}")
    if not urls:
        raise ConfigurationError("url: give at least one")
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigurationError("url: is not http://host... or https://host...")
    if model is None and format != "tei":
        raise ConfigurationError(f"model: the format {format!r} needs the model's name")
    if not timeout > 0:
        raise ConfigurationError(f"timeout: {timeout} is not above 0")
    if retries < 0:
        raise ConfigurationError(f"retries: {retries} is negative")
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"batch_size: {batch_size} is below 1")


def _where(url: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _advice(status: int) -> str:
    if status in (401, 403):
        return " (set reranker.api_key)"
    if status == 404:
        return " (is the url right, and the format?)"
    if 300 <= status < 400:
        return " (a redirect: set the final url)"
    if status in (413, 422):
        return " (too many or too long documents: lower batch_size or k)"
    return ""
