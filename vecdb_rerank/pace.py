"""A warning when a remote reranker is too slow to search with."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger("vecdb_rerank")
SLOW = 0.5  # seconds; what a user notices on top of a search
WINDOW = 100  # calls
ENOUGH = 20  # calls, before which a p95 says nothing
PAUSE = 300.0  # seconds between two warnings


class Pace:
    """Watches the p95 of the last calls of one reranker; shared by threads and tasks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._quiet_until = -math.inf
        self._lock = threading.Lock()

    def record(self, name: str, seconds: float) -> None:
        """Add a call of the reranker ``name``; warn where the p95 is over 500 ms now."""
        with self._lock:
            self._seconds.append(seconds)
            late = p95(self._seconds) if len(self._seconds) >= ENOUGH else 0.0
            now = self._clock()
            if late <= SLOW or now < self._quiet_until:
                return
            self._quiet_until = now + PAUSE
            calls = len(self._seconds)
        log.warning(
            "reranking with %s is slow: p95 %.0f ms over the last %d calls; lower search.k, use a "
            "nearer server, or a local model (reranker.type = 'onnx')",
            name,
            late * 1e3,
            calls,
        )


def p95(seconds: deque[float]) -> float:
    """The least of the values that 95 % do not exceed."""
    ordered = sorted(seconds)
    return ordered[math.ceil(0.95 * len(ordered)) - 1]
