"""A reranker that tests install as a plug-in: fast, deterministic, and failing on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores

SLOW = "SLOW"
FAIL = "FAIL"


class Words:
    """Scores a document by the share of the query's words that it has.

    A query with ``FAIL`` fails, and one with ``SLOW`` waits until ``go``, for five seconds at most.
    """

    def __init__(self, *, name: str = "words") -> None:
        self.name = name
        self.calls: list[tuple[str, list[str]]] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        INSTANCES.append(self)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.calls.append((query, list(documents)))
        if FAIL in query:
            raise RerankError("http://10.0.0.1 refused the secret document")
        if SLOW in query:
            self.started.release()
            until = time.monotonic() + 5
            while not self.go.is_set() and time.monotonic() < until and not deadline.expired:
                time.sleep(0.005)
        wanted = set(query.lower().split())
        return Scores.from_relevance(
            [len(wanted & set(text.lower().split())) / (len(wanted) + 1) for text in documents]
        )


INSTANCES: list[Words] = []
"""Those that were made, the latest last."""
