"""Who works now, who waits, and when a caller no longer does."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.server.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallerDeadline(Deadline):
    """The deadline of a caller, which also passes when it goes away.

    A local model looks at it between two batches, so that it stops working for nobody.
    """

    gone: threading.Event = field(default_factory=threading.Event, compare=False)

    def remaining(self) -> float:
        """Return the seconds left; none once the caller has gone."""
        return 0.0 if self.gone.is_set() else Deadline.remaining(self)

    def at_most(self, seconds: float) -> CallerDeadline:
        """Return the earlier of this deadline and ``seconds`` from now, of the same caller."""
        return CallerDeadline(min(self.ends_at, time.monotonic() + seconds), self.gone)


class Gate:
    """Lets ``running`` requests work at once and ``queue`` more wait, in order of arrival."""

    def __init__(self, running: int, queue: int) -> None:
        self._turns = asyncio.Semaphore(running)
        self._queue = queue
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, deadline: CallerDeadline) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the block; if that is cancelled, the caller has gone.

        Raises `ApiError`: 429 at once if the queue is full, 503 if ``deadline`` passes in it.
        """
        if self._turns.locked():
            await self._wait(deadline)
        else:
            await self._turns.acquire()  # at once
        try:
            yield
        except asyncio.CancelledError:
            deadline.gone.set()
            raise
        finally:
            self._turns.release()

    async def _wait(self, deadline: CallerDeadline) -> None:
        if self.waiting >= self._queue:
            raise ApiError(429, "too many requests are waiting", retry_after=1)
        left = deadline.remaining()
        self.waiting += 1
        try:
            async with asyncio.timeout(None if math.isinf(left) else left):
                await self._turns.acquire()
        except TimeoutError:
            raise ApiError(503, "the deadline passed in the queue", retry_after=1) from None
        finally:
            self.waiting -= 1


async def in_turn(
    receive: Receive, gate: Gate, deadline: CallerDeadline, work: Callable[[], Awaitable[T]]
) -> T:
    """Do ``work`` when it is its turn, and return its result.

    If the client goes, the work is cancelled, and `ClientDisconnect` raised. The body of the
    request must have been read. Raises what `Gate.turn` raises.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        await _disconnected(receive)
        gone = True
        task.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        async with gate.turn(deadline):
            return await work()
    except asyncio.CancelledError:
        if gone and not task.uncancel():  # nobody else cancelled it as well
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
