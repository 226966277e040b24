"""An engine that caches the token vectors of documents: late interaction.

The score of a document is the sum of MaxSim (Khattab and Zaharia, ColBERT, 2020,
https://arxiv.org/abs/2004.12832).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from more_itertools import chunked

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.tokenization.notes import query_notes
from vecdb_rerank.torch_engine.call_queue import Job
from vecdb_rerank.torch_engine.engine import Call, Computed, Engine

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.token_vectors import VectorRunner, Vectors

_DOCUMENTS_AT_ONCE = 64
_OBJECT_BYTES = 200  # of the array object and what holds it


class LateInteractionEngine(Engine["Vectors"]):
    """Scores documents by MaxSim; ``score_cache_mb`` is for the token vectors of documents."""

    def score(self, call: Call) -> Scores:
        """Return the sum of MaxSim per document; None for those not computed in time.

        The relevance is the mean of MaxSim, clipped to 0-1.
        """
        query = self._encode_query(call)
        if query is None:
            nothing = [None] * len(call.documents)
            return Scores(nothing, nothing)
        found = self.compute(call, b"")
        computed = [one for one in found if one is not None]
        sums = iter(_max_sims(query.value, computed))
        raw = [None if one is None else next(sums) for one in found]
        length = len(query.value)
        return Scores(
            raw,
            [None if x is None else min(1.0, max(0.0, x / length)) for x in raw],
            truncated=sum(one.truncated for one in computed),
            notes=query_notes([query.query_truncated]),
        )

    def _encode_query(self, call: Call) -> Computed[Vectors] | None:
        """Return the query's vectors; None without documents, or after the deadline."""
        if not call.documents or (runner := self.runner(call.deadline)) is None:
            return None
        pair = runner.encoder.query_pair(call.query)
        job: Job[Vectors] = Job([pair], call.deadline)
        if self._queue is None or not self._queue.submit(job):
            return None
        job.wait()
        vectors = job.results[0]
        return None if vectors is None else Computed(vectors, False, pair.query_truncated)

    def runner(self, deadline: Deadline) -> VectorRunner | None:
        """Return the loaded encoder, or None if it is not loaded before the deadline."""
        return cast("VectorRunner | None", super().runner(deadline))

    def _new_runner(self) -> VectorRunner:
        from vecdb_rerank.torch_engine.token_vectors import VectorRunner

        return VectorRunner(self.spec)

    @staticmethod
    def _size(computed: Computed[Vectors]) -> int:
        return int(computed.value.nbytes) + _OBJECT_BYTES


def _max_sims(query: Vectors, documents: Sequence[Computed[Vectors]]) -> list[float]:
    from vecdb_rerank.torch_engine.token_vectors import max_sim

    found: list[float] = []
    for part in chunked(documents, _DOCUMENTS_AT_ONCE):
        found += max_sim(query, [one.value for one in part])
    return found
