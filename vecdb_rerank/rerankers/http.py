"""A reranker behind HTTP: TEI, Jina AI, Voyage AI, and servers that speak Cohere's API."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlsplit

import httpx

from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, Race, Request
from vecdb_rerank.http.client_pool import ClientPool, Verify
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.transport import until
from vecdb_rerank.rerankers.failover import UrlRotation
from vecdb_rerank.rerankers.remote import (
    RemoteReranker,
    checked_url,
    clean_key,
    display_url,
    message,
    refusal,
    without_user,
)
from vecdb_rerank.rerankers.wire_formats import (
    FORMATS,
    Ask,
    FormatName,
    Reply,
    Scale,
    endpoint,
    reply,
)
from vecdb_rerank.resilience.latency import LatencyModel


class HttpReranker(RemoteReranker):
    """Scores documents by a server.

    Args:
        url: the server's address, or several of the same service: the next one is asked when one
            fails, unless it refused the documents, and each has its share of the time left. One
            that failed is asked last for 10 s.
        format: what the server speaks: ``cohere`` (/v2/rerank), ``cohere_v1`` (/v1/rerank),
            ``jina``, ``tei`` or ``voyage``.
        model: the model's name, which all formats but ``tei`` need.
        api_key: sent as a bearer token; user and password in the url are sent as basic ones.
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: further tries per url on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request (default: what the format allows); the requests of one
            call are made one after another.
        scale: what the server's numbers are: ``relevance`` (0 to 1) or ``logits``, which the
            sigmoid maps to 0 to 1 (default: as the format says; llama.cpp answers with logits).
        extra_body: further keys of each request's body, such as ``max_tokens_per_doc``,
            ``truncate_prompt_tokens`` (vLLM), ``truncation`` (Voyage) or ``truncate`` (TEI).
        hedge: ask a second url beside the first when that takes longer than 95 % of the last
            calls did; the first answer counts, the other request is cancelled (Dean and Barroso,
            The Tail at Scale, 2013). A service may bill both.
        http2: speak HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.

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
        scale: Scale | None = None,
        extra_body: Mapping[str, Any] | None = None,
        hedge: bool = False,
        http2: bool = False,
        verify: Verify = True,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        _check(urls, format, model, scale)
        wire = FORMATS[format]
        super().__init__(
            wire,
            scale=scale or wire.scale,
            timeout=timeout,
            retries=retries,
            batch_size=wire.batch_size if batch_size is None else batch_size,
        )
        self._key = clean_key(api_key)
        self._urls = [endpoint(checked_url(given), self._wire.path) for given in urls]
        self._turns = UrlRotation(self._urls)
        self._model = model
        if hedge and len(self._urls) < 2:
            raise ConfigurationError("hedge", "needs a second url")
        self._hedge = hedge
        self._pace = LatencyModel(self.name, warns=False)
        self._extra_body = _checked_body(extra_body or {})
        self._clients = ClientPool(_itself, _itself_async, http2=http2, verify=verify)

    @property
    def name(self) -> str:
        """``http:``, the first server's host and port, and the model where it has a name."""
        host = urlsplit(self._urls[0]).netloc.rpartition("@")[2]
        return f"http:{host}/{self._model}" if self._model else f"http:{host}"

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield Request(self._clients.close, self._clients.aclose)

    def _ask(self, query: str, batch: Sequence[str], deadline: Deadline) -> Flow[Reply]:
        ask = Ask(self._model, query, batch, self._scale)
        after = self._pace.p95() if self._hedge else None
        first, *others = urls = self._turns.order()
        if after is None:
            return (yield from self._asked_in_turn(urls, ask, deadline))
        begun: list[bool] = []

        def beside() -> Flow[Reply]:
            begun.append(True)
            return self._asked_in_turn(others, ask, deadline)

        try:
            reply: Reply = yield Race(
                lambda: self._asked_in_turn([first], ask, deadline), beside, after
            )
        except (ServiceError, TimeoutError) as error:
            if begun or _ends(error, deadline):
                raise
            return (yield from self._asked_in_turn(others, ask, deadline))
        return reply

    def _asked_in_turn(self, urls: Sequence[str], ask: Ask, deadline: Deadline) -> Flow[Reply]:
        """What the first url says that answers; each has its share of the time left."""
        body = {**self._wire.body(ask), **self._extra_body}
        *others, last = urls
        for left, url in zip(range(len(urls), 1, -1), others, strict=True):
            share = deadline.at_most(deadline.remaining() / left)
            try:
                return (yield from self._asked(url, body, ask, share))
            except (ServiceError, TimeoutError) as error:
                if _ends(error, deadline):
                    raise
        return (yield from self._asked(last, body, ask, deadline))

    def _asked(self, url: str, body: Any, ask: Ask, deadline: Deadline) -> Flow[Reply]:
        def attempt(soon: Deadline) -> Flow[Reply]:
            address, basic = without_user(url)
            authorization = f"Bearer {self._key}" if self._key else basic
            headers = {"Authorization": authorization} if authorization else {}
            request = httpx.Request("POST", address, json=body, headers=headers)
            response: httpx.Response = yield Request(
                lambda: self._send(request, soon),
                lambda: self._send_async(request, soon),
                soon.remaining(),
            )
            return self._read(response, url, ask)

        started = time.monotonic()
        scored = 0
        try:
            reply = yield from self._tried(attempt, display_url(url), deadline)
            scored = len(ask.documents)
            self._turns.answered(url)
        except (ServiceError, TimeoutError) as error:
            if not _is_of_request(error):
                self._turns.failed(url, error)
            raise
        finally:  # also where the other url was quicker, so that a slow one is known to be so
            seconds = time.monotonic() - started
            self._pace.record(len(ask.documents), seconds, scored=scored)
        return reply

    def _read(self, response: httpx.Response, url: str, ask: Ask) -> Reply:
        where, status = display_url(url), response.status_code
        if status != httpx.codes.OK:
            said = message(response.content)
            sent = (ask.query, *ask.documents)
            secrets = (self._key or "",)
            raise refusal(status, response.headers, said, where, secrets=secrets, sent=sent)
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise ServiceError(f"{where} answered with something that is no JSON") from error
        try:
            return reply(answer, ask, self._wire)
        except RerankError as error:
            raise ServiceError(f"{where}: {error}") from error

    def _send(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return self._clients.sync().send(request)

    async def _send_async(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return await (await self._clients.of_loop()).send(request)


def _ends(error: Exception, deadline: Deadline) -> bool:
    """Whether no other url is asked after this error: it would say the same, or be too late."""
    return _is_of_request(error) or deadline.expired


def _is_of_request(error: Exception) -> bool:
    """Whether this request was refused, which says nothing of the url."""
    return isinstance(error, ServiceError) and error.request_rejected


def _check(urls: Sequence[str], format: str, model: str | None, scale: str | None) -> None:
    if format not in get_args(FormatName):
        raise ConfigurationError(
            "format", f"{format!r} is none of {', '.join(get_args(FormatName))}"
        )
    if not urls:
        raise ConfigurationError("url", "give at least one")
    if not model and format != "tei":
        raise ConfigurationError("model", f"the format {format!r} needs the model's name")
    if scale not in (None, *get_args(Scale)):
        raise ConfigurationError("scale", f"{scale!r} is none of {', '.join(get_args(Scale))}")


def _checked_body(body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(dict(body))
    except (TypeError, ValueError) as error:
        raise ConfigurationError("extra_body", f"is not JSON: {error}") from error
    return dict(body)


def _itself(client: httpx.Client) -> httpx.Client:
    return client


def _itself_async(client: httpx.AsyncClient) -> httpx.AsyncClient:
    return client
