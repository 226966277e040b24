"""A reranker behind HTTP: any service or server with a row in the table of wire formats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args
from urllib.parse import urlsplit

import httpx

from vecdb_rerank._checks import check_type, is_bool, one_of
from vecdb_rerank.errors import ConfigurationError, RerankerSkippedError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, compute, race
from vecdb_rerank.http.client_pool import Verify
from vecdb_rerank.http.failover import UrlRotation
from vecdb_rerank.http.headers import secrets_in
from vecdb_rerank.http.json_client import MAX_RESPONSE_BYTES, JsonClient
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.urls import display_url
from vecdb_rerank.rerankers.http_messages import Messages, Urls
from vecdb_rerank.rerankers.remote import RemoteOptions, RemoteReranker
from vecdb_rerank.rerankers.signing import make_signer
from vecdb_rerank.rerankers.wire_format import Scale, WireFormat
from vecdb_rerank.rerankers.wire_formats import FormatName, described
from vecdb_rerank.rerankers.wire_reply import Reply, has_results, page
from vecdb_rerank.rerankers.wire_request import ScoreRequest
from vecdb_rerank.resilience.latency import LatencyModel
from vecdb_rerank.resilience.ledger import keep_reservation, reserve_more


class HttpReranker(RemoteReranker):
    """Scores documents by a server.

    Args:
        url: the server's address, to which the format's path is added, or several of the same
            service. The next one is called if one fails, unless it refused the documents, and each
            has its share of the time left. One that failed is called last for 10 s. A query string
            is sent and never logged.
        endpoint: instead of ``url``, the whole address to post to, used as it is; or several.
        format: the server's wire format, such as ``cohere`` (/v2/rerank), ``vllm`` or ``tei``, or
            ``custom`` for one of your own.
        custom: the description of a ``custom`` format: a `WireFormat`, or a mapping of its fields.
        model: the model's name, which all formats but ``tei`` need.
        api_key: sent in the header that the format names, such as a bearer token; user and
            password in the url are sent as basic authentication. Without one, ``bedrock`` signs
            requests with AWS credentials, and ``vertex`` uses Google's default credentials.
        headers: further headers of each request, such as those of a gateway; they are secret.
        query_params: parameters that are added to the address and never logged.
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: retries per url on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        batch_size: documents per request (default: what the format allows); the requests of one
            call are made one after another.
        batch_tokens: estimated tokens per request, the query counted with each document (default:
            the format's smallest limit: 300,000 for ``voyage`` and 30,000 for ``dashscope``, which
            newer models exceed, 120,000 for ``dashscope_compatible``, none for other formats).
        scale: what the server's numbers are: ``relevance`` (0 to 1) or ``logits``, which the
            sigmoid maps to 0 to 1 (default: the format's; llama.cpp answers with logits).
        instruction: what counts as relevant, such as "prefer official documentation", for formats
            that have a place for it; an instruction of a search replaces it.
        listwise: a score depends on the other documents, so that no call is split (default: true
            for ``jina-reranker-v3`` and its successors at Jina AI).
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
        url: Urls = None,
        *,
        endpoint: Urls = None,
        format: FormatName = "cohere",
        custom: WireFormat | Mapping[str, object] | None = None,
        model: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        query_params: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        scale: Scale | None = None,
        instruction: str | None = None,
        listwise: bool | None = None,
        extra_body: Mapping[str, object] | None = None,
        hedge: bool = False,
        http2: bool = False,
        verify: Verify = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        wire = described(format, custom)
        check_type("model", model, str)
        self._messages = Messages(
            wire,
            url,
            endpoint,
            model,
            api_key,
            headers or {},
            query_params or {},
            extra_body or {},
        )
        urls = self._messages.urls
        if not model and wire.needs_model:
            raise ConfigurationError("model", f"the format {format!r} needs the model's name")
        if scale is not None:
            one_of("scale", scale, get_args(Scale))
        if listwise is not None:
            is_bool("listwise", listwise)
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
            self._messages.secrets,
            instruction,
        )
        if listwise is None:
            listwise = wire.is_listwise(model)
        self.listwise = listwise
        self._model = model
        self._rotation = UrlRotation(urls)
        if hedge and len(urls) < 2:
            raise ConfigurationError("hedge", "needs a second url")
        self._hedge = hedge
        self._latency = LatencyModel(self.name, warns=False)
        self._client = JsonClient(http2=http2, verify=verify, max_bytes=max_response_bytes)
        self._signer = None
        if wire.signing is not None and not self._messages.have_credentials:
            self._signer = make_signer(wire.signing, model or "", verify=verify)

    @property
    def name(self) -> str:
        """``http:``, the first server's host and port, and the model if it has a name."""
        host = urlsplit(self._messages.urls[0]).netloc.rpartition("@")[2]
        return f"http:{host}/{self._model}" if self._model else f"http:{host}"

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from self._client.closing()

    def _send(
        self, query: str, batch: Sequence[str], retries: int, deadline: Deadline
    ) -> Flow[Reply]:
        request = ScoreRequest(self._model, query, batch, self._scale, self._instruction)
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

        def attempt(soon: Deadline) -> Flow[Reply]:
            return self._exchange(url, request, soon)

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

    def _exchange(self, url: str, request: ScoreRequest, deadline: Deadline) -> Flow[Reply]:
        """Return the scores that the server returns, in one page or several."""
        where, results = display_url(url), list[object]()
        service, token = self._service, None

        def read(body: object) -> Flow[Reply | None]:
            nonlocal token
            if self._wire.next_page is None or not has_results(body, self._wire):
                return (yield from self._reply(body, where, request, deadline, service))
            token = page(body, results, self._wire)
            if token is not None and len(results) < len(request.documents):
                return None
            whole = {self._wire.results: results}
            return (yield from self._reply(whole, where, request, deadline, service))

        while True:
            message, query = self._messages.message(url, request, token)
            if self._signer is not None:
                signed = yield from self._signature(message, query, deadline)
                message.headers.update(signed)
                tokens = secrets_in([signed.get(self._signer.secret_header, "")])
                service = replace(self._service, secrets=(*self._service.secrets, *tokens))
            answer = yield from self._client.exchange(
                service, message, read, where, request.texts, deadline
            )
            if answer is not None:
                return answer

    def _signature(
        self, message: httpx.Request, query: str, deadline: Deadline
    ) -> Flow[Mapping[str, str]]:
        signer = self._signer
        assert signer is not None
        if signer.ready:
            return signer.headers(message, query)
        return (yield from compute(lambda: signer.headers(message, query), deadline.remaining()))


def _is_final(error: Exception, deadline: Deadline) -> bool:
    """Return whether another url would refuse the request, too, or be too late."""
    return _rejects_request(error) or deadline.expired


def _rejects_request(error: Exception) -> bool:
    """Check whether the request was refused, which implies nothing about the url."""
    return isinstance(error, ServiceError) and error.request_rejected
