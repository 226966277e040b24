"""What all embedders behind HTTP share: their options, batches within limits, and long texts."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from vecdb_rerank._checks import above, checked_body, integer, is_bool, is_text
from vecdb_rerank.embedders.client import EmbeddingClient, EmbedServiceError
from vecdb_rerank.embedders.formats import FORMATS, EmbedFormat, EmbedRequest, Side
from vecdb_rerank.embedders.wording import Wording
from vecdb_rerank.errors import ConfigurationError, EmbedderError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.client_pool import Verify
from vecdb_rerank.http.endpoint import endpoint
from vecdb_rerank.http.failures import is_fault
from vecdb_rerank.http.json_client import JsonClient
from vecdb_rerank.http.request_limits import LearnedLimit, RequestLimit, estimated_tokens
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.splitting import SplitCall
from vecdb_rerank.protocols import Vector

_BATCH = 128  # texts; more make responses of many megabytes
_TOO_LONG = re.compile(r"token|length|too (long|large)|context|exceed", re.IGNORECASE)
_SHORTEST = 64  # characters; a text of fewer is not refused for its length
_UNTIL_THE_DEADLINE = 1_000  # retries


class RemoteEmbedder:
    """Embeds texts by a service.

    Args:
        model: the model's name.
        url: the service's address, if it is not the usual one. A query string is sent and never
            logged.
        api_key: sent as a bearer token.
        headers: further headers, such as those of a gateway; their values are secret.
        dimensions: the length of the vectors, for models that offer several (default: the model's).
        query_prefix: text before each query, for models that were trained with one.
        document_prefix: text before each document.
        query_kind: the value that marks queries in a request, such as ``search_query`` (default:
            the service's; "" leaves it out). With a wrong one, searches find less and nothing
            fails; ``vecdb-rerank doctor`` compares both directions.
        document_kind: the value that marks documents.
        normalize: scale each vector to the length 1.
        timeout: seconds for one request; the deadline of a search bounds all of them together.
        retries: retries on 408, 409, 425, 429, 5xx, timeouts and lost connections. While documents
            are added, retries go on until ``give_up_after``.
        batch_size: texts per request (default: what the service allows, at most 128).
        batch_tokens: estimated tokens per request (default: what the service allows).
        extra_body: further keys of each request's body.
        http2: use HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.
        max_response_bytes: the size of a response, before and after decompression, above which it
            is an error.

    A text that the service refuses for its length is halved until it is accepted. Raises
    `ConfigurationError` for wrong arguments; embedding raises `EmbedderError` or
    `EmbedderTimeoutError`.

    """

    format: ClassVar[str]
    """The service's row in the table of wire formats."""

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        dimensions: int | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        query_kind: str | None = None,
        document_kind: str | None = None,
        normalize: bool = True,
        timeout: float = 10.0,
        retries: int = 2,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        extra_body: Mapping[str, object] | None = None,
        http2: bool = False,
        verify: Verify = True,
        max_response_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        wire = FORMATS[self.format]
        self._model = _checked_model(model, wire)
        self._wording = Wording.of(wire, query_prefix, document_prefix, query_kind, document_kind)
        self._dimensions = None if dimensions is None else integer("dimensions", dimensions, 1)
        is_bool("normalize", normalize)
        above("timeout", timeout, 0, "seconds")
        self._retries = integer("retries", retries, 0)
        self._limit = LearnedLimit(_limit(wire, batch_size, batch_tokens))
        if url is None and wire.url is None:
            raise ConfigurationError("url", "must be the server's URL")
        where = endpoint(
            (wire.url or "") if url is None else url,
            wire.path,
            api_key,
            version=wire.version,
            headers=headers,
        )
        base = where.address.removesuffix(wire.path).removesuffix(wire.version)
        self._place = "" if url is None else base.partition("//")[2]  # Azure's has the deployment
        own = {name for name in (wire.model, wire.texts, wire.kind) if name is not None}
        body = checked_body(extra_body or {}, own=own)
        self._changes = ("" if normalize else "unnormalized", _digest(body) if body else "")
        most = integer("max_response_bytes", max_response_bytes, 1)
        self._client = EmbeddingClient(
            wire,
            where,
            JsonClient(http2=http2, verify=verify, max_bytes=most),
            timeout=timeout,
            normalize=normalize,
            extra_body=body,
            dimension=self._dimensions,
        )

    @property
    def name(self) -> str:
        """The service, the model, and everything else that the vectors depend on."""
        size = "" if self._dimensions is None else str(self._dimensions)
        parts = (self.format, self._place, self._model or "", size, self._wording.name)
        return ":".join(filter(None, (*parts, *self._changes)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def dimension(self) -> int:
        """The length of every vector; a request finds it out unless ``dimensions`` is set."""
        if self._client.dimension is None:
            return len(self.embed_query("dimension"))
        return self._client.dimension

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, shape (dimension,)."""
        return run(self.query_steps(text, deadline=Deadline()))

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of documents, shape (len(texts), dimension).

        Raise `EmbedderError` if the service refuses any of them.
        """
        found = run(self.document_steps(texts, deadline=Deadline()))
        embedded = [vector for vector in found if vector is not None]
        if refused := len(found) - len(embedded):
            raise EmbedderError(f"{self.name} refused {refused} of {len(found)} texts")
        return embedded

    def query_steps(self, text: str, *, deadline: Deadline) -> Flow[Vector]:
        """Do as `embed_query` does, as a flow; raise `EmbedderTimeoutError` at the deadline."""
        return (yield from self._one("query", self._wording.text("query", text), deadline))

    def document_steps(
        self, texts: Sequence[str], *, deadline: Deadline
    ) -> Flow[Sequence[Vector | None]]:
        """Do as `embed_documents` does, as a flow; None for a text that the service refuses.

        With a deadline, failures that may pass are retried until then.
        """
        prepared = [self._wording.text("document", text) for text in texts]
        tokens = [estimated_tokens(text) for text in prepared]
        call: SplitCall[Vector] = SplitCall(tokens, self._limit, len(texts))
        patient = self._retries if math.isinf(deadline.remaining()) else _UNTIL_THE_DEADLINE

        def send(part: range, may_retry: bool) -> Flow[Sequence[Vector]]:
            batch = prepared[part.start : part.stop]
            retries = patient if may_retry else 0
            return (yield from self._send("document", batch, retries, deadline))

        try:
            yield from call.run(send, split=lambda _part, error: self._may_split(error))
        except EmbedServiceError as error:
            if not _is_too_long(error):
                raise
        call.learn()
        found = call.results
        for n in [n for n, vector in enumerate(found) if vector is None]:
            try:
                found[n] = yield from self._one("document", prepared[n], deadline)
            except EmbedServiceError as error:
                if not error.request_rejected:
                    raise
        return found

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from self._client.closing()

    def _one(self, side: Side, text: str, deadline: Deadline) -> Flow[Vector]:
        """Return the vector of one text, cut to half until it is short enough."""
        while True:
            try:
                [vector] = yield from self._send(side, [text], self._retries, deadline)
            except EmbedServiceError as error:
                if not _is_too_long(error) or len(text) < _SHORTEST:
                    raise
                text = text[: len(text) // 2]
            else:
                return vector

    def _send(
        self, side: Side, texts: Sequence[str], retries: int, deadline: Deadline
    ) -> Flow[list[Vector]]:
        kind = self._wording.kinds[side]
        request = EmbedRequest(self._model, texts, kind, self._dimensions)
        return (yield from self._client.send(request, retries, deadline))

    def _may_split(self, error: ServiceError) -> bool:
        """Return whether a refused request may be accepted in parts."""
        if error.retry_after is not None or not self._limit.may_split:
            return False
        return error.request_rejected or is_fault(error)


def _is_too_long(error: ServiceError) -> bool:
    """Return whether a text may have been refused for its length."""
    return error.request_rejected and (error.status == 413 or bool(_TOO_LONG.search(str(error))))


def _digest(body: Mapping[str, object]) -> str:
    """Return what names ``body``, which may hold a secret."""
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=4).hexdigest()


def _limit(wire: EmbedFormat, batch_size: int | None, batch_tokens: int | None) -> RequestLimit:
    size = min(wire.max_texts, _BATCH) if batch_size is None else batch_size
    tokens = wire.max_tokens if batch_tokens is None else batch_tokens
    return RequestLimit(
        integer("batch_size", size, 1, wire.max_texts),
        None if tokens is None else integer("batch_tokens", tokens, 1),
    )


def _checked_model(model: str | None, wire: EmbedFormat) -> str | None:
    if model is None and wire.model is None:
        return None
    is_text("model", model, "the model's name")
    return model
