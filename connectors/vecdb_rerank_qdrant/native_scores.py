"""Bring the scores under a formula in the same round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError
from qdrant_client.http import models

from vecdb_rerank.protocols import Formula
from vecdb_rerank.search.learned import Learned
from vecdb_rerank_qdrant import plain, queries, request_reader
from vecdb_rerank_qdrant.evaluator import Evaluator
from vecdb_rerank_qdrant.plain import Arguments

# Each shard finds as many points as the prefetch says; the scores of all are wanted.
MOST_SHARDS = 64
_SCORE = models.FormulaQuery(formula="$score")
_BESIDE_A_BATCH = {"collection_name", "consistency", "timeout"}


@dataclass(frozen=True, slots=True)
class NativeScores:
    """What is sent beside a query with a formula over one prefetch.

    ``scores`` is the query with the formula ``$score``: it finds the same points on every shard.
    ``best`` asks for the best point of the prefetch's query alone, to see whether its scores are
    distances; None if that is known. ``distances`` remembers it for the vectors named ``vectors``.
    """

    formula: models.FormulaQuery
    scores: models.QueryRequest
    best: models.QueryRequest | None
    vectors: str
    distances: Learned[bool]

    @classmethod
    def of(
        cls, arguments: Arguments, most: int | None, distances: Learned[bool]
    ) -> NativeScores | None:
        """Return what to send beside a call of ``query_points``; None if no batch can hold that.

        A query may ask for ``most`` points.
        """
        if not set(arguments) <= {*queries.BATCH_NAMES, *_BESIDE_A_BATCH}:
            return None
        try:
            (query,) = queries.batch([arguments])["requests"]
        except ValidationError:
            return None
        prefetch = query.prefetch[0] if isinstance(query.prefetch, list) else query.prefetch
        depth = (prefetch.limit or request_reader.LIMIT) * MOST_SHARDS
        changes = {
            "query": _SCORE,
            "limit": depth if most is None else min(depth, most),
            "offset": None,
            "with_payload": False,
            "with_vector": False,
            "score_threshold": None,
        }
        best = models.QueryRequest(
            query=prefetch.query,
            using=prefetch.using,
            lookup_from=prefetch.lookup_from,
            shard_key=query.shard_key,
            limit=1,
        )
        vectors = f"{arguments['collection_name']} {prefetch.using}"
        may_be = request_reader.may_be_distance(plain.value(prefetch.query))
        ask = may_be and distances.get(vectors) is None
        scores = query.model_copy(update=changes)
        return cls(query.query, scores, best if ask else None, vectors, distances)

    @property
    def requests(self) -> list[models.QueryRequest]:
        """What is sent beside the query."""
        return [self.scores] if self.best is None else [self.scores, self.best]

    def read(
        self, points: Sequence[models.ScoredPoint], answers: Sequence[models.QueryResponse]
    ) -> Formula:
        """Return the formula over the scores of ``points``, from the answers to `requests`."""
        scores, *best = (answer.points for answer in answers)
        # In 32 bits: REST has fewer digits than the number that the server computes with.
        by_id = {str(point.id): float(np.float32(point.score)) for point in scores}
        if best and best[0] and len(set(by_id.values())) > 1:
            to_least, to_most = (abs(best[0][0].score - f(by_id.values())) for f in (min, max))
            self.distances.set(self.vectors, to_least < to_most)
        ascending = self.distances.get(self.vectors) or False
        # Of equal scores at its limit, a prefetch finds other points at each call.
        last = (max if ascending else min)(by_id.values(), default=0.0)
        native = {n: by_id.get(str(point.id), last) for n, point in enumerate(points)}
        return Formula(native, Evaluator(self.formula, points).score, ascending)
