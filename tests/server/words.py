"""A reranker that tests install as a plug-in: fast, deterministic, and failing on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores

SLOW = "SLOW"
LATE = "LATE"
SECRET = "http://10.0.0.1 refused the secret document"


class Words:
    """Scores a document by the share of the query's words that it has.

    With ``fails`` it raises. A query with ``SLOW`` waits until ``go`` or the deadline, for five
    seconds at most. A document with ``LATE`` gets no score.
    """

    def __init__(self, *, name: str = "words", fails: bool = False) -> None:
        self.name = name
        self._fails = fails
        self.calls: list[tuple[str, list[str]]] = []
        self.started = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.go = threading.Event()
        INSTANCES.append(self)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.calls.append((query, list(documents)))
        if self._fails:
            raise RerankError(SECRET)
        if SLOW in query:
            self.started.release()
            until = time.monotonic() + 5
            while not self.go.is_set() and time.monotonic() < until and not deadline.expired:
                time.sleep(0.002)
            self.ended.release()
            if deadline.expired:
                return Scores.from_relevance([None] * len(documents))
        wanted = set(query.lower().split())
        return Scores.from_relevance([_share(wanted, text) for text in documents])


def _share(wanted: set[str], text: str) -> float | None:
    if LATE in text:
        return None
    return len(wanted & set(text.lower().split())) / (len(wanted) + 1)


INSTANCES: list[Words] = []
"""Those that were made, the latest last."""
