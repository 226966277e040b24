"""Threads for work that may outlive the wait for it, and how to end their waits."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar
from weakref import WeakSet

T = TypeVar("T")


class Aborted(Exception):
    """Nobody waits for the result of this thread any more."""


class Abort:
    """Ends what a thread waits for, from another thread."""

    def __init__(self) -> None:
        self.aborted = False
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def abort(self) -> None:
        """End the current wait, and let no other begin."""
        with self._lock:
            self.aborted = True
            if self._end is not None:
                self._end()

    @contextmanager
    def waiting(self, end: Callable[[], None]) -> Iterator[None]:
        """The block waits for something that ``end`` ends."""
        with self._lock:
            if self.aborted:
                raise Aborted
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None


_abort: contextvars.ContextVar[Abort | None] = contextvars.ContextVar("abort", default=None)


def abortable(end: Callable[[], None]) -> AbstractContextManager[None]:
    """A block that waits for what ``end`` ends, where the running thread may be aborted."""
    abort = _abort.get()
    return nullcontext() if abort is None else abort.waiting(end)


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a thread of its own: work that hangs must not starve a shared pool."""
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def target() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(context.run(work))
        except (StopIteration, SystemExit, GeneratorExit, asyncio.CancelledError) as error:
            # asyncio cannot carry the first, and the others would end who only waits for the work.
            stopped = RuntimeError(f"the work raised {type(error).__name__}")
            stopped.__cause__ = error
            future.set_exception(stopped)
        except BaseException as error:  # handed to the waiting side, whatever it is
            future.set_exception(error)

    thread = threading.Thread(target=target, name="vecdb-rerank", daemon=True)
    _abandoned.add(thread)
    thread.start()
    return future


# Threads that may outlive the wait for them. The interpreter's end would kill one in the middle of
# native code (a model that loads), and the process with it; one that hangs must not hold it up.
_abandoned: WeakSet[threading.Thread] = WeakSet()


_AT_EXIT = 5.0  # seconds


@atexit.register
def _let_end() -> None:
    until = time.monotonic() + _AT_EXIT
    for thread in list(_abandoned):
        thread.join(max(0.0, until - time.monotonic()))
