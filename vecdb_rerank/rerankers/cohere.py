"""Cohere Rerank through the official SDK."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from vecdb_rerank._checks import at_least, is_text
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow, Request, Step
from vecdb_rerank.http.client_pool import ClientPool, Verify
from vecdb_rerank.http.json_client import MAX_RESPONSE_BYTES
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.server_messages import find_message, mask, parse
from vecdb_rerank.http.service import checked_url, clean_key
from vecdb_rerank.http.time_limit import until
from vecdb_rerank.rerankers.remote import RemoteOptions, RemoteReranker, RerankServiceError
from vecdb_rerank.rerankers.wire_formats import FORMATS
from vecdb_rerank.rerankers.wire_reply import Reply
from vecdb_rerank.rerankers.wire_request import ScoreRequest, root

if TYPE_CHECKING:
    from cohere import AsyncClientV2, ClientV2
    from cohere.core.api_error import ApiError

DEFAULT_MODEL = "rerank-v3.5"
_WIRE = FORMATS["cohere"]
_OPTIONS = {"max_retries": 0}  # retries have one owner, and it is not the SDK


@runtime_checkable
class CohereClient(Protocol):
    """A client of the SDK, or one with the same method ``rerank``."""

    @property
    def rerank(self) -> Callable[..., Any]:
        """The SDK's rerank method; a coroutine function if the client is asynchronous."""
        ...


class CohereReranker(RemoteReranker):
    """Scores documents by Cohere's API, or by one that the SDK can be pointed at.

    Documents are sent as text. ``text_fields.fields`` names the fields of a structured document
    and their order (the API's old ``rank_fields``); objects become YAML, as Cohere recommends.

    Args:
        model: the model's name, such as ``rerank-v3.5``.
        api_key: the key (default: the environment variable ``CO_API_KEY``).
        base_url: another server (Azure, a gateway), with or without ``/v2/rerank`` at its end
            (default: the environment variable ``CO_API_URL``, or Cohere's own).
        client: a ready client of the SDK, such as ``BedrockClientV2``, with its own key, address
            and connections; its owner closes it. An asynchronous one serves asynchronous searches
            only, a synchronous one both. At the deadline the call is left in its thread,
            since its connections cannot be interrupted. ``max_response_bytes`` does not bound it.
        max_tokens_per_doc: tokens of a document that the model reads (the API's default: 4096).
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: retries on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request, at most 1,000; more are sent in several requests. Up to
            100 documents of up to 500 tokens are one billed search unit.
        batch_tokens: estimated tokens per request, the query counted with each document (default:
            no limit).
        http2: use HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.
        max_response_bytes: the size of a response, before and after decompression, above which it
            is an error.

    Raises `ConfigurationError` for wrong arguments and without a key; scoring raises `RerankError`
    or `RerankTimeoutError`.

    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        client: CohereClient | None = None,
        max_tokens_per_doc: int | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        batch_size: int = _WIRE.max_documents,
        batch_tokens: int | None = None,
        http2: bool = False,
        verify: Verify = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        options = RemoteOptions(
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
            batch_tokens=batch_tokens,
            max_response_bytes=max_response_bytes,
        )
        key = None if client else clean_key(api_key or os.environ.get("CO_API_KEY"))
        super().__init__(_WIRE, "relevance", options, (key,) if key else ())
        is_text("model", model)
        if batch_size > _WIRE.max_documents:
            raise ConfigurationError(
                "batch_size", f"must be at most {_WIRE.max_documents}, got {batch_size}"
            )
        if max_tokens_per_doc is not None:
            at_least("max_tokens_per_doc", max_tokens_per_doc, 1)
        sdk = require("cohere", "cohere")
        self._api_error: type[ApiError] = require("cohere.core.api_error", "cohere").ApiError
        self._model = model
        self._arguments: dict[str, object] = {"model": model, "request_options": _OPTIONS}
        if max_tokens_per_doc is not None:
            self._arguments["max_tokens_per_doc"] = max_tokens_per_doc
        self._ready = _checked_client(client, api_key, base_url)
        self._key = key
        if client is not None:
            self._where = f"Cohere ({type(client).__name__})"
            return
        self._base_url = _base_url(base_url)
        if self._key is None:
            raise ConfigurationError("api_key", "set it, or the environment variable CO_API_KEY")
        # Naming the classes imports them now rather than in the first search.
        self._classes: tuple[type[ClientV2], type[AsyncClientV2]] = (
            sdk.ClientV2,
            sdk.AsyncClientV2,
        )
        self._clients = ClientPool(
            self._sdk, self._sdk_async, http2=http2, verify=verify, max_bytes=max_response_bytes
        )
        host = urlsplit(self._base_url or "https://api.cohere.com").netloc
        self._where = f"Cohere ({host})"

    @property
    def name(self) -> str:
        """``cohere:`` and the model's name."""
        return f"cohere:{self._model}"

    def closing(self) -> Flow[None]:
        """Close the connections, unless they are those of a ready client."""
        if self._ready is None:
            yield Request(self._clients.close, self._clients.aclose)

    def _send(
        self, query: str, batch: Sequence[str], retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        request = ScoreRequest(self._model, query, batch, self._scale)
        arguments = {**self._arguments, "query": query, "documents": list(batch)}

        def attempt(soon: Deadline) -> Flow[Reply]:
            try:
                answer = yield self._call(arguments, soon)
            except self._api_error as error:
                refused = error
            except (TimeoutError, httpx.RequestError, RerankError, ConfigurationError):
                raise
            except Exception as error:  # a ready client's own, or a bug in the SDK
                failed = f"{self._where} failed with {type(error).__name__}"
                raise RerankServiceError(failed) from error
            else:
                body = answer.model_dump(warnings=False) if isinstance(answer, BaseModel) else None
                return (yield from self._reply(body, self._where, request, soon))
            # Outside the handler: the SDK's error repeats what the server echoed, keys included.
            raise (yield from self._refused(refused, request, soon))

        return (yield from self._attempts(attempt, request, self._where, retries, deadline))

    def _call(self, arguments: dict[str, object], deadline: Deadline) -> Step:
        timeout = deadline.remaining()
        if self._ready is None:
            return Request(
                lambda: self._exchange(arguments, deadline),
                lambda: self._exchange_async(arguments, deadline),
                timeout,
            )
        limits = {"timeout": timeout, "timeout_in_seconds": timeout}  # new and old name of it
        bound = {**arguments, "request_options": {**_OPTIONS, **limits}}
        rerank = self._ready.rerank
        if inspect.iscoroutinefunction(rerank):
            return Request(_refuse, lambda: rerank(**bound), timeout)
        return Compute(lambda: rerank(**bound), timeout)

    def _exchange(self, arguments: dict[str, Any], deadline: Deadline) -> BaseModel:
        with until(deadline):
            return self._clients.sync().rerank(**arguments)

    async def _exchange_async(self, arguments: dict[str, Any], deadline: Deadline) -> BaseModel:
        with until(deadline):
            return await (await self._clients.of_loop()).rerank(**arguments)

    def _refused(
        self, error: ApiError, request: ScoreRequest, deadline: Deadline
    ) -> Flow[ServiceError]:
        """Return the error for a response without scores; its cause repeats no secret."""
        status = error.status_code or 0
        body = parse(error.body) if isinstance(error.body, str) else error.body
        if 200 <= status < 300 and not isinstance(body, str):
            return RerankServiceError(f"{self._where} returned a response that is not JSON")
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        failed = yield from self._service.refusal(
            status, headers, body, self._where, request.texts, deadline
        )
        said = mask(find_message(body, (_WIRE.error,)), self._service.secrets)
        failed.__cause__ = self._api_error(status_code=status, body=said)
        return failed

    def _sdk(self, client: httpx.Client) -> ClientV2:
        return self._classes[0](self._key, base_url=self._base_url, httpx_client=client)

    def _sdk_async(self, client: httpx.AsyncClient) -> AsyncClientV2:
        return self._classes[1](self._key, base_url=self._base_url, httpx_client=client)


def _checked_client(
    client: CohereClient | None, api_key: str | None, base_url: str | None
) -> CohereClient | None:
    if client is None:
        return None
    if not isinstance(client, CohereClient):
        raise ConfigurationError(
            "client", f"expected a client with a method rerank, got {type(client).__name__}"
        )
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


def _refuse() -> object:
    raise ConfigurationError("client", "an asynchronous client needs an asynchronous search")
