"""httpx transports whose timeout is the limit of a whole request, whatever the server does."""

from __future__ import annotations

import httpx

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.http.time_limit import until
from vecdb_rerank.http.transport import AsyncDeadlineTransport, DeadlineTransport


class TotalTimeoutTransport(DeadlineTransport):
    """Ends a request after its read timeout (seconds), or at the deadline of `until` if sooner."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response."""
        with until(_end(request)):
            return super().handle_request(request)


class AsyncTotalTimeoutTransport(AsyncDeadlineTransport):
    """`TotalTimeoutTransport` under an `httpx.AsyncClient`."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the whole response."""
        with until(_end(request)):
            return await super().handle_async_request(request)


def _end(request: httpx.Request) -> Deadline:
    return Deadline.after(request.extensions.get("timeout", {}).get("read"))
