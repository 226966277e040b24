"""Rerank a list of texts that was found elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vecdb_rerank._checks import check_type
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import DOC_ID, Candidate, Ranking
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.stages import extras
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.ranking.ordering import unchanged
from vecdb_rerank.request import NativeSearch
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.arguments import AnyPolicy, Rerankers, make_chain, make_policy
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.text_fields import TextFields, valid_unicode

MODE = "list"  # the outcome's word for the first pass


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a text in the final order.

    ``position`` is its index in the given list. ``score`` is the final score, which falls down the
    list: from 0 to 1 for a text that was scored or whose score was estimated, lower for the others,
    0 or below for an empty text. It is None if the list kept its order. ``relevance`` (0 to 1) is
    the reranker's, None if it did not score the text.
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
        self,
        source: str,
        reranker: Rerankers = "bundled",
        policy: AnyPolicy | None = None,
        instruction: str | None = None,
    ) -> None:
        self._list = _List(source)
        self._pipeline = Pipeline(make_chain(reranker), policy=make_policy(policy), scores_all=True)
        _check_stages(self._pipeline.policy)
        self._pipeline.check_instruction(instruction)
        self._instruction = instruction

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
        payloads: Sequence[Mapping[str, object]] = (),
        instruction: str | None = None,
    ) -> Flow[list[Place]]:
        """Return the flow that ends in the first ``limit`` places, best first; None for all.

        ``scores`` are those of the list, None for a text without one. ``policy`` and
        ``instruction``, which replaces that of the rerankers, hold for this list alone.
        ``payloads`` are the metadata of the texts, for the stages of `Policy.after`; their key
        ``_doc_id`` is a document's id. No text is dropped but for ``min_relevance``. Raises
        `RerankError` only under ``on_error="raise"``.
        """
        if policy is not None:
            _check_stages(policy)
        held = payloads or [{}] * len(texts)
        rows = enumerate(zip(texts, _falling(scores), held, strict=True))
        given = unchanged(
            [
                # A position is not an id to pin a document by.
                Candidate(n, n, valid_unicode(text).strip(), score, {DOC_ID: "", **payload})
                for n, (text, score, payload) in rows
            ]
        )
        check_type("query", query, str)
        instruction = self._instruction if instruction is None else instruction
        self._pipeline.check_instruction(instruction)
        whole = max(1, len(texts))
        search = NativeSearch(
            valid_unicode(query), k=whole, limit=whole, mode=MODE, instruction=instruction
        )
        with self._pipeline.begin(self._list.name, search, policy=policy) as run:
            completed = yield from self._pipeline.rerank(self._list, search, FirstPass(given), run)
        ranking = deliver(completed, run.policy)
        return _places(ranking)[:limit]


def _check_stages(policy: Policy) -> None:
    """Raise `ConfigurationError` for a boost, whose filter only a database evaluates."""
    for key in extras(policy.after).filters:
        raise ConfigurationError(
            key, "cannot be evaluated for a list; use a retriever over the database for boosts"
        )


def _places(ranking: Ranking) -> list[Place]:
    """Return the final order: scored texts, texts without a score, empty texts."""
    if all(hit.relevance is None for hit in ranking.hits):
        return [Place(hit.candidate.position, None, None) for hit in ranking.hits]
    read = [hit for hit in ranking.hits if hit.candidate.text]
    lowest = min(0.0, read[-1].score)
    return [
        *(Place(hit.candidate.position, hit.score, hit.relevance) for hit in read),
        *(Place(h.candidate.position, lowest, None) for h in ranking.hits if not h.candidate.text),
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
    """Return the scores if they never rise down the list, else zeros: they must not reorder it."""
    numbers = [float(score) for score in scores if isinstance(score, int | float)]
    explain = len(numbers) == len(scores) and all(a >= b for a, b in pairwise(numbers))
    return numbers if explain else [0.0] * len(scores)
