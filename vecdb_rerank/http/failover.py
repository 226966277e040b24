"""The order in which the urls of one service are called; one that failed comes last for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from vecdb_rerank.http.urls import display_url

log = logging.getLogger("vecdb_rerank")
PAUSE = 10.0  # seconds, as a breaker's default


class UrlRotation:
    """The urls of one service, best first; shared by threads and tasks.

    One that failed is called after the others for ``pause`` seconds, so that a url that hangs takes
    its share of the time once and not in every search. After the pause one request probes it in its
    old place, while the others skip it. A success restores its place, a failure starts another
    pause.
    """

    def __init__(
        self,
        urls: Sequence[str],
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = tuple(urls)
        self._pause = pause
        self._clock = clock
        self._last_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def order(self) -> list[str]:
        """Return the urls in the order to ask them now."""
        with self._lock:
            now = self._clock()
            last = {url for url, until in self._last_until.items() if until > now}
            ordered = sorted(self._urls, key=lambda url: url in last)
            if (first := ordered[0]) in self._last_until:  # this request probes it
                self._last_until[first] = now + self._pause
            return ordered

    def failed(self, url: str, error: Exception) -> None:
        """Record that ``url`` failed; ``error`` names it and the reason."""
        if len(self._urls) < 2:
            return
        with self._lock:
            known = url in self._last_until
            self._last_until[url] = self._clock() + self._pause
        if not known:
            log.warning("%s: called last for %g s", error, self._pause)

    def answered(self, url: str) -> None:
        """Record that ``url`` gave an answer."""
        with self._lock:
            known = self._last_until.pop(url, None) is not None
        if known:
            log.warning("%s answers again", display_url(url))
