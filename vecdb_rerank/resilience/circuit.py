"""A circuit breaker: a reranker that keeps failing is left alone for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vecdb_rerank.errors import RerankerSkippedError
from vecdb_rerank.policy.breaker import Breaker

log = logging.getLogger("vecdb_rerank")


_REMEMBERED = 1_000  # calls, so that a busy window does not grow for ever


class Circuit:
    """The breaker of one reranker; shared by threads and tasks."""

    def __init__(
        self, name: str, rules: Breaker, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._rules = rules
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque(maxlen=_REMEMBERED)  # when, and failed?
        self._open_until: float | None = None
        self._probing = False
        self._under_way = 0
        self._last = ""
        self._lock = threading.Lock()

    @contextmanager
    def watch(
        self, is_failure: Callable[[Exception], bool], *, may_probe: bool = True
    ) -> Iterator[None]:
        """Count what becomes of the block; `RerankerSkippedError` where the breaker is open.

        A block that has too little time to tell (not ``may_probe``) does not probe an open one.
        """
        probe = self._admit(may_probe)
        try:
            yield
        except Exception as error:
            self._settle(probe, error if is_failure(error) else None)
            raise
        except BaseException:  # the search was given up, which says nothing of the reranker
            with self._lock:
                self._under_way -= 1
                self._probing = self._probing and not probe
            raise
        else:
            self._settle(probe, None)

    def _admit(self, may_probe: bool) -> bool:
        """Whether this call is the one that probes an open breaker."""
        with self._lock:
            if self._open_until is None:
                self._under_way += 1
                return False
            left = self._open_until - self._clock()
            if left > 0 or self._probing or not may_probe:
                raise RerankerSkippedError(
                    f"{self._name} is left alone for {max(left, 0.0):.1f} s more after failing "
                    f"({self._last})"
                )
            self._probing = True
            self._under_way += 1
            return True

    def _settle(self, probe: bool, error: Exception | None) -> None:
        with self._lock:
            self._under_way -= 1
            if error is not None:
                self._last = str(error)
            if probe:
                self._probing = False
                self._reopen() if error is not None else self._close()
            elif self._open_until is None:
                self._count(error is not None)

    def _count(self, failed: bool) -> None:
        now = self._clock()
        self._calls.append((now, failed))
        while self._calls[0][0] <= now - self._rules.window:
            self._calls.popleft()
        if not failed:
            return
        failures = sum(failed for _, failed in self._calls)
        # Those under way count: failures are often quicker than successes, and come first.
        calls = len(self._calls) + self._under_way
        if failures >= max(self._rules.failures, self._rules.share * calls):
            self._reopen()
            log.warning(
                "%s failed %d times in %g s: not asked for %g s (%s)",
                self._name,
                failures,
                self._rules.window,
                self._rules.pause,
                self._last,
            )

    def _reopen(self) -> None:
        self._open_until = self._clock() + self._rules.pause
        self._calls.clear()

    def _close(self) -> None:
        self._open_until = None
        log.warning("%s answers again", self._name)
