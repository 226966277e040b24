"""Reranking a list that somebody else found: texts in their order in, their places out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.ranking.ordering import unchanged
from vecdb_rerank.request import NativeSearch
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.connector import Rerankers, make_chain
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.text_fields import TextFields, valid_unicode

MODE = "list"  # the outcome's word for the first pass


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


class ListReranker:
    """Rerankers over lists of texts; ``source`` names the lists in outcomes.

    The given order takes part in the final one as a first pass does (see `Blend`), and is kept
    if the rerankers fail. Ids in outcomes are the positions in the list, from 0; first-pass
    scores there are 0.0 unless the list has scores that fall.
    """

    def __init__(
        self, source: str, reranker: Rerankers = "bundled", policy: Policy | None = None
    ) -> None:
        self._list = _List(source)
        self._pipeline = Pipeline(make_chain(reranker), policy=policy or Policy())

    @property
    def chain(self) -> Chain | None:
        """The rerankers; None for none."""
        return self._pipeline.chain

    def steps(
        self,
        query: str,
        texts: Sequence[str],
        scores: Sequence[object],
        limit: int | None = None,
        policy: Policy | None = None,
    ) -> Flow[list[Place]]:
        """Return the flow that ends in the first ``limit`` places, best first; None for all.

        ``scores`` are those of the list, None for a text without one. ``policy`` holds for this
        list alone. No text is dropped but for ``min_relevance``. Raises `RerankError` only under
        ``on_error="raise"``.
        """
        given = unchanged(
            [
                Candidate(position=n, id=n, text=valid_unicode(text).strip(), score=score)
                for n, (text, score) in enumerate(zip(texts, _falling(scores), strict=True))
            ]
        )
        whole = max(1, len(texts))
        search = NativeSearch(valid_unicode(query), k=whole, limit=whole, mode=MODE)
        with self._pipeline.begin(self._list.name, search, policy=policy) as run:
            completed = yield from self._pipeline.rerank(self._list, search, FirstPass(given), run)
        ranking = deliver(completed, run.policy)
        moved = any(hit.relevance is not None for hit in ranking.hits)
        return [
            Place(hit.candidate.position, hit.score if moved else None, hit.relevance)
            for hit in ranking.hits[:limit]
        ]


@dataclass(frozen=True, slots=True)
class _List:
    """A list in the place of a database: a response is a ranking."""

    name: str

    def candidates(self, first: FirstPass[Ranking], _: TextFields) -> Sequence[Candidate]:
        return [hit.candidate for hit in first.response.hits]

    def rebuild(self, _: FirstPass[Ranking], ranking: Ranking) -> Ranking:
        return ranking


def _falling(scores: Sequence[object]) -> list[float]:
    """The scores if they explain the list's order, which is not theirs to change; else none."""
    numbers = [float(score) for score in scores if isinstance(score, int | float)]
    explain = len(numbers) == len(scores) and all(a >= b for a, b in pairwise(numbers))
    return numbers if explain else [0.0] * len(scores)
