"""An engine whose documents are kept as vectors: late interaction (Khattab and Zaharia, 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from more_itertools import chunked

from vecdb_rerank.model import Scores
from vecdb_rerank.torch_engine.call_queue import Job
from vecdb_rerank.torch_engine.engine import Call, Computed, Engine

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.runner import Runner

_AT_ONCE = 64  # documents whose products are computed together


class LateEngine(Engine):
    """An encoder with its queue, and the vectors of documents that come again."""

    def score(self, call: Call) -> Scores:
        """The sum of MaxSim of a call's documents; relevance is its mean, bounded to 0 to 1."""
        query = self._query(call)
        found = [None for _ in call.documents] if query is None else self.computed(call, b"")
        known = [one for one in found if one is not None]
        sums = iter(_sums(query, known))
        raw = [None if one is None else next(sums) for one in found]
        relevance = [None if x is None else min(1.0, max(0.0, x / len(query))) for x in raw]
        return Scores(raw, relevance, truncated=sum(one.truncated for one in known))

    def _query(self, call: Call) -> Any:
        """The query's vectors; None where there is nothing to score, or no time."""
        if not call.documents or (runner := self.runner(call.deadline)) is None:
            return None
        tokens: Any = runner.tokens
        job = Job([tokens.asked(call.query)], call.deadline)
        if self._queue is None or not self._queue.submit(job):
            return None
        job.wait()
        return job.scores[0]

    def _new_runner(self) -> Runner:
        from vecdb_rerank.torch_engine.token_vectors import Encoder

        return Encoder(self.spec)

    @staticmethod
    def _size(one: Computed) -> int:
        return int(one.value.nbytes) + 200  # the array object and what it is kept in


def _sums(query: Any, documents: list[Computed]) -> list[float]:
    from vecdb_rerank.torch_engine.token_vectors import max_sim

    found: list[float] = []
    for some in chunked(documents, _AT_ONCE):
        found += max_sim(query, [one.value for one in some])
    return found
