"""Reranking a list that somebody else found: texts in their order in, their places out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vecdb_rerank import telemetry
from vecdb_rerank.candidates import Candidate, Outcome
from vecdb_rerank.chain import Chain
from vecdb_rerank.connector import Rerankers, chain_of
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import valid_unicode
from vecdb_rerank.flow import Flow
from vecdb_rerank.pipeline import Clock, Pipeline, Trip
from vecdb_rerank.policy import Policy


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text of the list ended up.

    ``position`` is its place in the list that was given, from 0. ``score`` (0 to 1) is the final
    one, None where the list kept its order; ``relevance`` (0 to 1) is the reranker's, None where
    it did not score this text.
    """

    position: int
    score: float | None
    relevance: float | None


class Reorder:
    """Rerankers over lists of texts, under a policy; ``source`` says in outcomes whose lists.

    The given order takes part in the final one as a first pass does (see `Blend`), and is kept
    where the rerankers fail. Ids in outcomes are the positions in the list, from 0; first-pass
    scores there are 0.0 where the list has none that fall.
    """

    def __init__(
        self, source: str, reranker: Rerankers = "bundled", policy: Policy | None = None
    ) -> None:
        policy = policy or Policy()
        self.source = source
        self._pipeline = Pipeline(chain_of(reranker, policy), policy=policy)

    @property
    def chain(self) -> Chain | None:
        """The rerankers; None for none."""
        return self._pipeline.chain

    def steps(
        self, query: str, texts: Sequence[str], scores: Sequence[Any], limit: int | None = None
    ) -> Flow[list[Place]]:
        """The flow that ends in the first ``limit`` places, best first; None for all.

        ``scores`` are those of the list, None where a text has none. No text is dropped but for
        ``min_relevance``. Raises `RerankError` under ``on_error="raise"`` alone.
        """
        candidates = [
            Candidate(position=n, id=n, text=valid_unicode(text).strip(), score=score)
            for n, (text, score) in enumerate(zip(texts, _falling(scores), strict=True))
        ]
        with telemetry.span("search", {"source": self.source, "k": len(texts)}) as span:
            trip = Trip(Clock(), Deadline.after(self._pipeline.policy.deadline), span)
            known = Outcome("skipped", backend=self.source)
            ranking = yield from self._pipeline.judge(
                valid_unicode(query), candidates, trip, known, 0, len(candidates)
            )
        moved = any(hit.relevance is not None for hit in ranking.hits)
        return [
            Place(hit.candidate.position, hit.score if moved else None, hit.relevance)
            for hit in ranking.hits[:limit]
        ]


def _falling(scores: Sequence[Any]) -> list[float]:
    """The scores if they explain the list's order, which is not theirs to change; else none."""
    numbers = [float(score) for score in scores if isinstance(score, int | float)]
    explain = len(numbers) == len(scores) and all(a >= b for a, b in pairwise(numbers))
    return numbers if explain else [0.0] * len(scores)
