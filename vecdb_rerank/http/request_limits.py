"""Which documents go into which request: limits that are known, and those that refusals teach."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

KEPT = 600.0  # seconds for which a learned limit holds
PAUSE = 60.0  # seconds without splitting after a server refused everything
_SERVER_FAILURES = 3  # in a row: a request and both its halves, which no one document explains


def estimated_tokens(text: str) -> float:
    """Estimate the tokens of ``text``: a quarter of a token per character, one for CJK.

    A character beyond ASCII takes two to four bytes in UTF-8, and correspondingly more tokens.
    """
    characters = len(text)
    if text.isascii():
        return characters / 4
    return characters / 4 + (len(text.encode()) - characters) * 3 / 8


def shortened(text: str, tokens: int) -> str:
    """Return the beginning of ``text`` that has at most ``tokens``, as estimated."""
    while (found := estimated_tokens(text)) > tokens:
        text = text[: int(len(text) * tokens / found)]
    return text


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """The most that one request may hold; ``tokens`` counts the query with each document."""

    documents: int
    tokens: float | None = None

    def parts(self, tokens: Sequence[float], within: range | None = None) -> Iterator[range]:
        """Yield consecutive parts of ``within`` (default: all) that keep the limit.

        ``tokens`` are those of each document; one that is above the limit is sent alone.
        """
        within = range(len(tokens)) if within is None else within
        start, held = within.start, 0.0
        for n in within:
            full = self.tokens is not None and held + tokens[n] > self.tokens
            if n > start and (n - start == self.documents or full):
                yield range(start, n)
                start, held = n, 0.0
            held += tokens[n]
        if start < within.stop:
            yield range(start, within.stop)


class LearnedLimit:
    """The limit of one reranker: the configured one, narrowed for a while by refusals.

    Threads and tasks share it. What was learned expires after ``kept`` seconds, so that a server
    with a new configuration is used fully again.
    """

    def __init__(
        self,
        configured: RequestLimit,
        *,
        kept: float = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = configured
        self._kept = kept
        self._clock = clock
        self._learned = configured
        self._until = self._paused_until = -math.inf
        self._lock = threading.Lock()

    def current(self) -> RequestLimit:
        """Return the limit that holds now."""
        with self._lock:
            return self._learned if self._clock() < self._until else self._configured

    @property
    def is_learned(self) -> bool:
        """Whether a refusal has narrowed the configured limit."""
        return self.current() != self._configured

    def learn(self, limit: RequestLimit) -> None:
        """Keep ``limit``, which is narrower than the current one."""
        with self._lock:
            self._learned, self._until = limit, self._clock() + self._kept

    @property
    def may_split(self) -> bool:
        """Whether a refused request is worth splitting: not after everything was refused."""
        with self._lock:
            return self._clock() >= self._paused_until

    def refused_all(self) -> None:
        """Stop splitting for a while: the parts of the last call were all refused, too."""
        with self._lock:
            self._paused_until = self._clock() + PAUSE

    def accepted(self) -> None:
        """End that pause: the server takes requests."""
        with self._lock:
            self._paused_until = -math.inf


class RequestPlan:
    """The requests of one call, and how they change when the server refuses some.

    A refused request is halved until the documents that the server does not take stand alone
    (``culprits``), or until it is plain that the request was too large. ``tokens`` are those of
    each document. At most ``2 * log2(n)`` requests are made beyond the planned ones.
    """

    def __init__(self, tokens: Sequence[float], limit: RequestLimit) -> None:
        self.culprits: list[int] = []
        self.unsent = 0
        self._tokens = tokens
        self._limit = limit
        self._pending = deque((part, False) for part in limit.parts(tokens))
        self._extra = 2 * math.ceil(math.log2(len(tokens))) if len(tokens) > 1 else 0
        self._accepted: list[range] = []
        self._refused: list[range] = []
        self._server_failures = 0
        self._names_tokens = self._descends = False

    def next(self, may_add: Callable[[range], bool]) -> range | None:
        """Return the documents of the next request; None at the end.

        ``may_add`` is called before each request beyond the planned ones.
        """
        while self._pending:
            part, is_extra = self._pending.pop() if self._from_the_end else self._pending.popleft()
            if self._is_too_large(part):
                part, *others = self.limit.parts(self._tokens, part)
                self._pending.extendleft((one, True) for one in reversed(others))
            if not is_extra:
                return part
            if self._extra > 0 and may_add(part):
                self._extra -= 1
                return part
            self.unsent += len(part)
        return None

    def accepted(self, part: range) -> None:
        """Record that the server scored ``part``."""
        self._accepted.append(part)
        self._server_failures = 0

    def refused(self, part: range, *, is_fault: bool, names_tokens: bool = False) -> None:
        """Record that the server refused ``part``, and plan its halves.

        ``is_fault`` says that it failed at the request, ``names_tokens`` that its message mentions
        tokens.
        """
        self._names_tokens |= names_tokens
        if is_fault:
            self._server_failures += 1
        if len(part) == 1:
            self.culprits.append(part.start)
            return
        self._refused.append(part)
        middle = part.start + len(part) // 2
        halves = [(range(part.start, middle), True), (range(middle, part.stop), True)]
        # Level by level, which scores the most documents early. But once a request and both its
        # halves were refused, straight down to a size that the server accepts.
        self._descends |= len(self._refused) == 3 and not self._accepted and not is_fault
        if self._descends and not self._from_the_end:
            self._pending.extendleft(reversed(halves))
        else:
            self._pending.extend(halves)

    @property
    def _from_the_end(self) -> bool:
        """Whether to look far from the first culprit for a document that the server takes."""
        return bool(self.culprits) and not self._accepted

    @property
    def is_hopeless(self) -> bool:
        """Whether more requests would fail, too."""
        if not (self._refused or self.culprits):
            return False
        refuses_all = not self._accepted and (len(self.culprits) > 1 or not self._extra)
        return refuses_all or self._server_failures >= _SERVER_FAILURES

    @property
    def limit(self) -> RequestLimit:
        """The limit, with what the refusals of this call taught.

        A request was too large if all its documents were scored in smaller ones. It had too many
        tokens if the server said so or accepted as many documents, else too many documents.
        """
        if not self._accepted:
            return self._limit
        limit = self._limit
        most = max(len(one) for one in self._accepted)
        tokens = max(self._sum(one) for one in self._accepted)
        for part in self._too_large():
            if self._sum(part) > tokens and (self._names_tokens or most >= len(part)):
                limit = replace(limit, tokens=min(limit.tokens or math.inf, tokens))
            elif len(part) > most:
                limit = replace(limit, documents=min(limit.documents, most))
        return limit

    @property
    def next_limit(self) -> RequestLimit:
        """The limit for the next call if no request of this one was accepted in time.

        It is half of the smallest request that was refused, so that the next call gets further.
        """
        least = min(map(len, self._refused), default=2 * self._limit.documents)
        return replace(self._limit, documents=min(self._limit.documents, least // 2))

    def _too_large(self) -> list[range]:
        """Return the refused requests of which every document was scored."""
        scored = {n for part in self._accepted for n in part}
        return [part for part in self._refused if scored.issuperset(part)]

    def _is_too_large(self, part: range) -> bool:
        """Return whether a request as large as this one, by documents and tokens, was refused."""
        return any(
            len(part) >= len(one) and self._sum(part) >= self._sum(one) for one in self._too_large()
        )

    def _sum(self, part: range) -> float:
        return sum(self._tokens[part.start : part.stop])
