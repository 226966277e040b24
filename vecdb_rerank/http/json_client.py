"""A client that sends JSON to one service and reads the JSON that it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, request
from vecdb_rerank.http.client_pool import ClientPool, Verify
from vecdb_rerank.http.network import drop_connection
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.server_messages import parse
from vecdb_rerank.http.service import Service, off_loop
from vecdb_rerank.http.time_limit import until

T = TypeVar("T")
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024  # of an error's body that are read: parsing keeps other threads


class JsonClient:
    """Sends requests to one service, by pooled connections; ``http2`` and ``verify`` as there.

    ``max_bytes`` bounds a response before and after decoding. Raise `ConfigurationError` if the
    ``verify`` file holds no certificates.
    """

    def __init__(
        self, *, http2: bool = False, verify: Verify = True, max_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._clients = ClientPool(
            _same, _same_async, http2=http2, verify=verify, max_bytes=max_bytes
        )

    def exchange(
        self,
        service: Service,
        message: httpx.Request,
        read: Callable[[object], Flow[T]],
        where: str,
        sent: Sequence[str],
        deadline: Deadline,
    ) -> Flow[T]:
        """Send ``message`` once and return what ``read`` makes of the response's JSON.

        ``sent`` are texts that no error may repeat. A connection whose response ``read`` refuses
        with a `ServiceError` is closed: the response may be another request's. Raise the service's
        error for a response without JSON or with another status than 200, and httpx's errors.
        """
        response = yield from request(
            lambda: self._send(message, deadline),
            lambda: self._send_async(message, deadline),
            deadline.remaining(),
        )
        content, status = response.content, response.status_code
        if status != httpx.codes.OK:
            content = content[:MAX_ERROR_BYTES]
        body = yield from off_loop(lambda: parse(content), len(content), deadline)
        if status != httpx.codes.OK or isinstance(body, str):
            raise (
                yield from service.refusal(status, response.headers, body, where, sent, deadline)
            )
        try:
            if body is None:
                raise service.errors.failed(f"{where} returned a response that is not JSON")
            return (yield from read(body))
        except ServiceError:
            drop_connection(response)
            raise

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from request(self._clients.close, self._clients.aclose)

    def _send(self, message: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return self._clients.sync().send(message)

    async def _send_async(self, message: httpx.Request, deadline: Deadline) -> httpx.Response:
        with until(deadline):
            return await (await self._clients.of_loop()).send(message)


def _same(client: httpx.Client) -> httpx.Client:
    return client


def _same_async(client: httpx.AsyncClient) -> httpx.AsyncClient:
    return client
