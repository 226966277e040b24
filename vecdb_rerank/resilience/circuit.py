"""The circuit breaker of one reranker: what became of its calls, read by a policy's rules."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from vecdb_rerank.errors import RerankerSkippedError
from vecdb_rerank.policy.breaker import Breaker

log = logging.getLogger("vecdb_rerank")
_REMEMBERED = 1_000  # calls, so that a busy window does not grow for ever
# What an admitted call is: one of many, the only one of an open circuit, or one without rules.
_Kind = Literal["normal", "probe", "unruled"]


class Circuit:
    """The calls of one reranker, and whether it is paused; shared by threads and tasks.

    The rules come with each call: they decide how the shared record is read.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque(maxlen=_REMEMBERED)  # when, and failed?
        self._opened_at: float | None = None
        self._probing = False
        self._under_way = 0
        self._last_error = ""
        self._lock = threading.Lock()

    @contextmanager
    def watch(
        self,
        rules: Breaker | None,
        is_failure: Callable[[Exception], bool],
        *,
        may_probe: bool = True,
    ) -> Iterator[None]:
        """Record the outcome of the block; raise `RerankerSkippedError` if the circuit is open.

        Without ``rules`` the block runs although the circuit is open. A block that has too little
        time to judge by (not ``may_probe``) does not probe an open circuit.
        """
        kind = self._admit(rules, may_probe)
        try:
            yield
        except Exception as error:
            self._settle(rules, kind, error if is_failure(error) else None)
            raise
        except BaseException:  # the search was cancelled, which implies nothing about the reranker
            with self._lock:
                self._under_way -= 1
                self._probing = self._probing and kind != "probe"
            raise
        else:
            self._settle(rules, kind, None)

    def _admit(self, rules: Breaker | None, may_probe: bool) -> _Kind:
        with self._lock:
            if rules is None:
                self._under_way += 1
                return "unruled"
            if self._opened_at is None:
                self._under_way += 1
                return "normal"
            left = self._opened_at + rules.pause - self._clock()
            if left > 0 or self._probing or not may_probe:
                raise RerankerSkippedError(
                    f"{self._name} is paused for {max(left, 0.0):.1f} s more after failing "
                    f"({self._last_error})"
                )
            self._probing = True
            self._under_way += 1
            return "probe"

    def _settle(self, rules: Breaker | None, kind: _Kind, error: Exception | None) -> None:
        with self._lock:
            self._under_way -= 1
            if error is not None:
                self._last_error = str(error)
            is_open = self._opened_at is not None
            if kind == "probe":
                self._probing = False
                self._close() if error is None else self._open()
            elif is_open and kind == "unruled" and error is None:
                self._close()
            elif not is_open:
                self._record(rules, failed=error is not None)

    def _record(self, rules: Breaker | None, *, failed: bool) -> None:
        now = self._clock()
        self._calls.append((now, failed))
        if rules is None or not failed:
            return
        recent = [failed for at, failed in self._calls if at > now - rules.window]
        failures = sum(recent)
        # Calls under way count: failures are often quicker than successes, and come first.
        calls = len(recent) + self._under_way
        if failures >= max(rules.failures, rules.share * calls):
            self._open()
            log.warning(
                "%s failed %d times in %g s: not called for %g s (%s)",
                self._name,
                failures,
                rules.window,
                rules.pause,
                self._last_error,
            )

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._calls.clear()

    def _close(self) -> None:
        self._opened_at = None
        log.warning("%s answers again", self._name)
