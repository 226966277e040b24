"""One connection: uvicorn's HTTP/1.1 protocol within limits of size and time.

uvicorn itself waits for ever for a head or a body, and has no limit on a head's size. A server
calls `Connection.check` some times per second; there are no timers for each request.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from vecdb_rerank.server.network import head
from vecdb_rerank.server.network.limits import (
    LINGER,
    MAX_HEAD,
    MAX_WAITING,
    MIN_RATE,
    Limits,
    RefusedError,
)
from vecdb_rerank.server.network.parser import Parser
from vecdb_rerank.server.network.transport import ClosedGently, OneByOne
from vecdb_rerank.server.requests import exchange

if TYPE_CHECKING:
    from starlette.types import Scope
    from uvicorn import Config
    from uvicorn._types import ASGI3Application
    from uvicorn.server import ServerState


class _Phase(Enum):
    IDLE = auto()  # between two requests: uvicorn's keep-alive timer runs
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()  # the request was read whole
    CLOSING = auto()  # what still comes is thrown away


class Connection(HttpToolsProtocol):
    """A connection of a server with these ``limits``; the other arguments are uvicorn's."""

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
    ) -> None:
        super().__init__(config, server_state, app_state, asyncio.get_running_loop())
        self._limits = limits
        self._phase = _Phase.HEAD
        self._until = self._later()
        self._stuck_at = math.inf  # when a client that does not read is left
        self._head = 0  # bytes of the head so far
        self._events = 0  # calls by the parser
        self._began = 0.0  # when the body began
        self._body = 0  # bytes of the body so far
        self._answering: RequestResponseCycle | None = None
        self._keep_alive = True
        self.parser = Parser(self)  # type: ignore[assignment]  # it has what uvicorn calls

    def _later(self) -> float:
        return self.loop.time() + self._limits.patience

    # -- called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse a connection over the limit."""
        super().connection_made(transport)
        self.flow = OneByOne(transport, self.pipeline)
        if len(self.connections) > 2 * self._limits.connections:
            transport.abort()
        elif len(self.connections) > self._limits.connections and self._too_many():
            self._refuse(RefusedError(503, "too many connections"))

    def _too_many(self) -> bool:
        """Check whether there are too many beside those that are about to end."""
        others = (one for one in self.connections if isinstance(one, Connection))
        count = sum(one._phase is not _Phase.CLOSING for one in others)
        return count > self._limits.connections

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, too; uvicorn tells the latest one."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; see `Limits` for what is refused."""
        if self._phase is _Phase.CLOSING:
            return
        self._unset_keepalive_if_required()
        if self._phase is _Phase.IDLE:
            self._phase, self._until = _Phase.HEAD, self._later()
        events = self._events
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            why = error.__context__
            self._refuse(
                why
                if isinstance(why, RefusedError)
                else RefusedError(400, "malformed HTTP request")
            )
            return
        if self._events == events:  # one long line, or bytes between the pieces of a body
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(RefusedError(431, f"a line has more than {MAX_HEAD} bytes"))

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._stuck_at = self._later()

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        self._stuck_at = math.inf

    # -- called by the parser

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._events += 1
        self._head = 0
        if self._phase is not _Phase.HEAD:
            self._phase, self._until = _Phase.HEAD, self._later()

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of a header; trailers are counted, and ignored."""
        self._count(len(name) + len(value) + 4)
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def _count(self, length: int) -> None:
        self._events += 1
        self._head += length
        if self._head > MAX_HEAD:
            raise RefusedError(431, f"the headers have more than {MAX_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """Check the head, and begin the request."""
        self._events += 1
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if (problem := head.problem(version, method, self.url, self.headers)) is not None:
            raise RefusedError(400, problem)
        if len(self.pipeline) >= MAX_WAITING:
            raise RefusedError(429, "too many requests at once on one connection")
        self._phase, self._head, self._body = _Phase.BODY, 0, 0
        self._began, self._until = self.loop.time(), self._later()
        super().on_headers_complete()
        # An answer before the end of the body is the last one of the connection.
        self._keep_alive = self.cycle.keep_alive
        self.cycle.keep_alive = False
        self.cycle.transport = cast(
            asyncio.Transport, ClosedGently(self.transport, self.close_gently)
        )

    def on_body(self, body: bytes) -> None:
        """Note the progress of a body."""
        self._events += 1
        self._head = 0
        self._body += len(body)
        now = self.loop.time()
        self._until = min(now, self._began + self._body / MIN_RATE) + self._limits.patience
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the answer."""
        self._events += 1
        self._phase, self._until = _Phase.ANSWER, math.inf
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive and not self._limits.draining
        super().on_message_complete()

    # -- called by requests

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Begin the next request, or wait for one."""
        super().on_response_complete()
        if self._phase is _Phase.ANSWER and self.cycle.response_complete:
            self._phase = _Phase.IDLE

    def close_gently(self) -> None:
        """Close the connection; while the client is still sending, let it read first."""
        if self._phase is _Phase.ANSWER or self.transport.is_closing():
            self._stuck_at = self._later()
            self.transport.close()
            return
        self._phase, self._until = _Phase.CLOSING, self.loop.time() + LINGER
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- called by the server

    def check(self, now: float) -> None:
        """End the connection if its time is over."""
        if now >= self._stuck_at:
            self.transport.abort()
        if now < self._until or self.transport.is_closing():
            return
        self._until = self._later()
        if self._phase is _Phase.CLOSING:
            self._stuck_at = self._later()
            self.transport.close()
        elif self._phase is _Phase.HEAD and self._events == 0:
            self.transport.close()  # nothing was asked
        elif self._phase in (_Phase.HEAD, _Phase.BODY) and not self.flow.read_paused:
            self._refuse(RefusedError(408, "the request did not come in time"))

    def shutdown(self) -> None:
        """Close the connection after the request that has begun, if any."""
        self._keep_alive = False
        busy = self._answering is not None and not self._answering.response_complete
        if busy:
            super().shutdown()
        elif self._phase is not _Phase.HEAD or self._events == 0:
            self.transport.close()

    def _refuse(self, refused: RefusedError) -> None:
        """Answer with an error, if it can be told whose it is, and close the connection."""
        answering, headers = self._answering, self.server_state.default_headers
        if answering is None or answering.response_complete:
            self._limits.refused(refused.status)
            self.transport.write(refused.answer(headers))
        elif answering is not self.cycle or not answering.more_body:
            self._limits.refused(refused.status)
            self._end_with_those_before(answering)
            return
        else:  # its body
            answering.disconnected = True
            answering.message_event.set()
            if answering.response_started:
                self.transport.abort()
                return
            told = exchange.refuse(cast("Scope", answering.scope), refused.status)
            self.transport.write(refused.answer(headers, *told))
        self.close_gently()

    def _end_with_those_before(self, answering: RequestResponseCycle) -> None:
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()  # the newest
        last = self.pipeline[0][0] if self.pipeline else answering
        last.keep_alive = False
        self._phase, self._until = _Phase.CLOSING, math.inf
