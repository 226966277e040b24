"""The data model: what moves between a database, a reranker and the caller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.errors import RerankError

HitId = int | str
Span = tuple[int, int]  # characters of a text, from and to
# Where a payload keeps the id its document was added under, if the database takes no such id.
DOC_ID = "_doc_id"


@dataclass(frozen=True, slots=True)
class BranchHit:
    """A hit's rank (from 1) and score in one branch (``bm25`` or ``dense``)."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class BranchWeight:
    """How much a branch counts in a search (``share``, 0 to 1; all branches sum to 1), and why."""

    share: float
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A first-pass hit as a reranker sees it.

    ``position`` is the hit's place in the native response (from 0), ``score`` the database's
    own score, ``text`` what a reranker reads (may be empty), ``payload`` the stored document.
    ``branches`` holds its rank and score in each branch, if the policy requests them.
    """

    position: int
    id: HitId
    text: str
    score: float
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    branches: Mapping[str, BranchHit] = field(default_factory=dict)

    @property
    def doc_id(self) -> HitId:
        """The id that the document was added under; Qdrant stores foreign ids in the payload."""
        stored = self.payload.get(DOC_ID)
        return stored if isinstance(stored, int | str) else self.id


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated ``relevance`` (0 to 1) of a document that a reranker did not read.

    It lies from ``low`` to ``high`` in about nine of ten cases.
    """

    relevance: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of n documents, in their order; ``None`` marks one that was not scored.

    ``raw`` is the model's own number (a logit, an API's score), which orders the hits;
    ``relevance`` is the same on the 0-1 scale that ``min_relevance`` tests. ``truncated`` counts
    the documents of which the model read only a part, ``billed`` the units that a service charges.
    ``passages`` is the best passage of each document that was read in several. ``failed`` maps the
    names of rerankers that took part and failed to the reason. ``notes`` are those of the
    `Outcome`. ``calibrated`` means that relevance is on the common scale (`Calibration`).
    ``estimates`` holds those of documents that were not scored.
    """

    raw: Sequence[float | None]
    relevance: Sequence[float | None]
    truncated: int = 0
    billed: float = 0.0
    passages: Sequence[Span | None] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    calibrated: bool = False
    estimates: Sequence[Estimate | None] = ()

    @classmethod
    def from_logits(
        cls, logits: Sequence[float | None], *, truncated: int = 0, billed: float = 0.0
    ) -> Scores:
        """Return scores of a model that was trained with a sigmoid on its logit."""
        return cls(logits, [None if x is None else sigmoid(x) for x in logits], truncated, billed)

    @classmethod
    def from_relevance(
        cls, relevance: Sequence[float | None], *, truncated: int = 0, billed: float = 0.0
    ) -> Scores:
        """Return scores that are on the 0-1 scale already."""
        return cls(relevance, relevance, truncated, billed)


@dataclass(frozen=True, slots=True)
class RankedHit:
    """A candidate with its final score; ``raw`` and ``relevance`` are None if not scored.

    ``estimate`` is what stood in for a relevance that is not known.
    """

    candidate: Candidate
    score: float
    raw: float | None = None
    relevance: float | None = None
    estimate: Estimate | None = None

    def with_score(self, score: float) -> RankedHit:
        """Return the hit with another final score."""
        if score == self.score:
            return self
        # `replace` takes twice as long, and every hit of every search comes here.
        return RankedHit(self.candidate, score, self.raw, self.relevance, self.estimate)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hits in final order; scores never increase down the list.

    ``max_score`` is the best score of the whole ranking, also on a later page; None without hits.
    """

    hits: tuple[RankedHit, ...]
    max_score: float | None

    @classmethod
    def of(cls, hits: Iterable[RankedHit]) -> Ranking:
        """Return the ranking of ``hits``, which are in final order."""
        ordered = tuple(hits)
        return cls(ordered, ordered[0].score if ordered else None)

    def page(self, offset: int, limit: int) -> Ranking:
        """Return the hits ``offset`` to ``offset + limit``."""
        return Ranking(self.hits[offset : offset + limit], self.max_score)


# How far outside 0 to 1 a relevance may be by rounding: a model in bfloat16 gives 1.0078.
_ROUNDING = 0.01


def clip_relevance(value: float) -> float | None:
    """Return ``value`` in 0 to 1; None if it is outside by more than rounding, or not a number."""
    if 0.0 <= value <= 1.0:
        return value
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        return None
    return min(1.0, max(0.0, value))


def sigmoid(logit: float) -> float:
    """Return the logistic function of ``logit``, without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chain of rerankers returned: scores and whose they are, or an error.

    ``failed`` maps the names of rerankers that failed to the reason, ``billed`` the names of those
    that charged to the units.
    """

    reranker: str
    scores: Scores | None = None
    error: RerankError | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    billed: Mapping[str, float] = field(default_factory=dict)
