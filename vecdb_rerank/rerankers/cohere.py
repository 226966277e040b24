"""Cohere Rerank through the official SDK."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow, Request, Step
from vecdb_rerank.http.client_pool import ClientPool, Verify
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.transport import until
from vecdb_rerank.rerankers.remote import (
    RemoteReranker,
    checked_url,
    clean_key,
    message,
    refusal,
)
from vecdb_rerank.rerankers.wire_formats import FORMATS, Ask, Reply, reply, root

DEFAULT_MODEL = "rerank-v3.5"
_WIRE = FORMATS["cohere"]
_OPTIONS = {"max_retries": 0}  # retries have one owner, and it is not the SDK


class CohereReranker(RemoteReranker):
    """Scores documents by Cohere's API, or by one that the SDK can be pointed at.

    Documents are sent as text. ``text_fields.fields`` names the fields of a structured document
    and their order (the API's old ``rank_fields``); objects become YAML, as Cohere recommends.

    Args:
        model: the model's name, such as ``rerank-v3.5``.
        api_key: the key; without it, that of the environment variable ``CO_API_KEY``.
        base_url: another server (Azure, a gateway), with or without ``/v2/rerank`` at its end;
            without it, that of the environment variable ``CO_API_URL``, or Cohere's own.
        client: a ready client of the SDK, such as ``BedrockClientV2``, which brings its key, its
            address and its connections, and is closed by its owner. An asynchronous one serves
            asynchronous searches only, a synchronous one both. It is left behind at the deadline
            in a thread of its own, since its connections are not ours to interrupt.
        max_tokens_per_doc: tokens of a document that the model reads (the API's default: 4096).
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: further tries on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request, at most 1,000; more are split and merged. Up to 100
            documents are one billed search unit.
        http2: speak HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.

    Raises `ConfigurationError` for wrong arguments and where there is no key; scoring raises
    `RerankError` or `RerankTimeoutError`.

    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        client: Any = None,
        max_tokens_per_doc: int | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        batch_size: int = _WIRE.batch_size,
        http2: bool = False,
        verify: Verify = True,
    ) -> None:
        super().__init__(
            _WIRE, scale="relevance", timeout=timeout, retries=retries, batch_size=batch_size
        )
        if not model:
            raise ConfigurationError("model", "is empty")
        if batch_size > _WIRE.batch_size:
            raise ConfigurationError("batch_size", f"{batch_size} is above {_WIRE.batch_size}")
        if max_tokens_per_doc is not None and max_tokens_per_doc < 1:
            raise ConfigurationError("max_tokens_per_doc", f"{max_tokens_per_doc} is below 1")
        self._cohere = require("cohere", "cohere")
        self._model = model
        self._options: dict[str, Any] = {"model": model, "request_options": _OPTIONS}
        if max_tokens_per_doc is not None:
            self._options["max_tokens_per_doc"] = max_tokens_per_doc
        self._ready = _checked_client(client, api_key, base_url)
        if client is None:
            self._key = clean_key(api_key or os.environ.get("CO_API_KEY"))
            self._base_url = _base_url(base_url)
            if self._key is None:
                raise ConfigurationError(
                    "api_key", "set it, or the environment variable CO_API_KEY"
                )
            # Imported now, by being named, rather than in the first search.
            self._sdks = self._cohere.ClientV2, self._cohere.AsyncClientV2
            self._clients = ClientPool(self._sdk, self._sdk_async, http2=http2, verify=verify)
            host = urlsplit(self._base_url or "https://api.cohere.com").netloc
            self._where = f"Cohere ({host})"
        else:
            self._key = None
            self._where = f"Cohere ({type(client).__name__})"

    @property
    def name(self) -> str:
        """``cohere:`` and the model's name."""
        return f"cohere:{self._model}"

    def closing(self) -> Flow[None]:
        """Close the connections, unless they are those of a ready client."""
        if self._ready is None:
            yield Request(self._clients.close, self._clients.aclose)

    def _ask(self, query: str, batch: Sequence[str], deadline: Deadline) -> Flow[Reply]:
        arguments = {**self._options, "query": query, "documents": list(batch)}

        ask = Ask(self._model, query, batch, self._scale)

        def attempt(soon: Deadline) -> Flow[Reply]:
            try:
                answer = yield self._call(arguments, soon)
            except (TimeoutError, httpx.RequestError, RerankError, ConfigurationError):
                raise
            except Exception as error:
                raise self._failed(error, (query, *batch)) from error
            return self._read(answer, ask)

        return (yield from self._tried(attempt, self._where, deadline))

    def _call(self, arguments: dict[str, Any], deadline: Deadline) -> Step:
        timeout = deadline.remaining()
        if self._ready is None:
            return Request(
                lambda: self._send(arguments, deadline),
                lambda: self._send_async(arguments, deadline),
                timeout,
            )
        limits = {"timeout": timeout, "timeout_in_seconds": timeout}  # new and old name of it
        bound = {**arguments, "request_options": {**_OPTIONS, **limits}}
        if inspect.iscoroutinefunction(self._ready.rerank):
            return Request(_refuse, lambda: self._ready.rerank(**bound), timeout)
        return Compute(lambda: self._ready.rerank(**bound), timeout)

    def _send(self, arguments: dict[str, Any], deadline: Deadline) -> Any:
        with until(deadline):
            return self._clients.sync().rerank(**arguments)

    async def _send_async(self, arguments: dict[str, Any], deadline: Deadline) -> Any:
        with until(deadline):
            return await (await self._clients.of_loop()).rerank(**arguments)

    def _failed(self, error: Exception, sent: Sequence[str]) -> RerankError:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):  # of a ready client's own making, or a bug in the SDK
            return ServiceError(f"{self._where} failed with {type(error).__name__}")
        if 200 <= status < 300:
            return ServiceError(f"{self._where} answered with something that is no JSON")
        headers = {k.lower(): v for k, v in (getattr(error, "headers", None) or {}).items()}
        said = message(getattr(error, "body", None))
        return refusal(status, headers, said, self._where, secrets=(self._key or "",), sent=sent)

    def _read(self, answer: Any, ask: Ask) -> Reply:
        # The SDK checks nothing: a response without results has None there.
        results = getattr(answer, "results", None)
        entries = [_entry(result) for result in results] if isinstance(results, list) else None
        try:
            return reply({"results": entries, "meta": _meta(answer)}, ask, _WIRE)
        except RerankError as error:
            raise ServiceError(f"{self._where}: {error}") from error

    def _sdk(self, client: httpx.Client) -> Any:
        return self._sdks[0](self._key, base_url=self._base_url, httpx_client=client)

    def _sdk_async(self, client: httpx.AsyncClient) -> Any:
        return self._sdks[1](self._key, base_url=self._base_url, httpx_client=client)


def _entry(result: Any) -> dict[str, Any]:
    return {
        "index": getattr(result, "index", None),
        _WIRE.score: getattr(result, _WIRE.score, None),
    }


def _meta(answer: Any) -> dict[str, Any]:
    units = getattr(getattr(answer, "meta", None), "billed_units", None)
    return {"billed_units": {"search_units": getattr(units, "search_units", None)}}


def _checked_client(client: Any, api_key: str | None, base_url: str | None) -> Any:
    if client is None:
        return None
    if not callable(getattr(client, "rerank", None)):
        raise ConfigurationError("client", f"{type(client).__name__} has no method rerank")
    for name, given in (("api_key", api_key), ("base_url", base_url)):
        if given is not None:
            raise ConfigurationError(name, "the ready client has its own; leave this one out")
    return client


def _base_url(given: str | None) -> str | None:
    url = given or os.environ.get("CO_API_URL")
    if not url:
        return None
    parts = urlsplit(checked_url(url, "base_url"))
    if parts.username or parts.query:
        raise ConfigurationError("base_url", "put the key into api_key, not into the url")
    return root(url)


def _refuse() -> Any:
    raise ConfigurationError("client", "an asynchronous client needs an asynchronous search")
