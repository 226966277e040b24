"""The transport of a connection as uvicorn and its requests use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized

from uvicorn.protocols.http.flow_control import FlowControl


class OneByOne(FlowControl):
    """Reads no further while whole requests wait in ``pipeline`` for the answer to one before."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Read on, unless a request waits."""
        if not self._pipeline:
            super().resume_reading()


class ClosedGently:
    """A transport that requests write to, and that ``close`` closes."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
