"""Threads for work that may outlive its caller, and how to interrupt their waits."""

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

T = TypeVar("T")


class Aborted(Exception):
    """The result of this thread is no longer wanted."""


class Abort:
    """Interrupts a thread's wait from another thread."""

    def __init__(self) -> None:
        self.aborted = False
        self._interrupt: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def abort(self) -> None:
        """Interrupt the current wait and let no other begin."""
        with self._lock:
            self.aborted = True
            if self._interrupt is not None:
                self._interrupt()

    @contextmanager
    def waiting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Mark the block as a wait that ``interrupt`` ends; raise `Aborted` if already aborted."""
        with self._lock:
            if self.aborted:
                raise Aborted
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None


current_abort: contextvars.ContextVar[Abort | None] = contextvars.ContextVar("abort", default=None)
"""The `Abort` of the running thread, if it has one."""


def abortable(interrupt: Callable[[], None]) -> AbstractContextManager[None]:
    """Return a block whose wait ``interrupt`` ends if the running thread is aborted."""
    abort = current_abort.get()
    return nullcontext() if abort is None else abort.waiting(interrupt)


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a new thread: work that hangs must not starve a shared pool."""
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def target() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(context.run(work))
        except (StopIteration, SystemExit, GeneratorExit, asyncio.CancelledError) as error:
            # asyncio refuses a StopIteration; the others would end the thread that only waits.
            stopped = RuntimeError(f"the work raised {type(error).__name__}")
            stopped.__cause__ = error
            future.set_exception(stopped)
        except BaseException as error:  # the waiting side handles it, whatever it is
            future.set_exception(error)

    _WorkThread(target=target, name="vecdb-rerank", daemon=True).start()
    return future


class _WorkThread(threading.Thread):
    """A thread of `in_thread`."""


_AT_EXIT = 5.0  # seconds


@atexit.register
def _join_threads() -> None:
    """Wait a while for running work: a daemon thread killed in native code crashes the process."""
    until = time.monotonic() + _AT_EXIT
    for thread in threading.enumerate():
        # A thread that is only being started is listed too, but cannot be joined yet.
        if isinstance(thread, _WorkThread) and thread.is_alive():
            thread.join(max(0.0, until - time.monotonic()))
