"""What becomes of the order: from a chain's answer to the final ranking."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.errors import RerankError
from vecdb_rerank.model import Answer, Candidate, HitId, Ranking, Scores, Span
from vecdb_rerank.outcome import Status
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import ordering
from vecdb_rerank.text_fields import TextFields

log = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The order a rerank ended in, and how it got there; the fields are those of an `Outcome`."""

    ranking: Ranking
    status: Status
    reranker: str = ""
    reason: str | None = None
    error: RerankError | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    truncated: int = 0
    billed: Mapping[str, float] = field(default_factory=dict)
    passages: Mapping[HitId, Span] = field(default_factory=dict)

    @property
    def rescored(self) -> bool:
        """Whether the scores are the blended ones, not the database's."""
        return self.status in ("reranked", "partial")


def reason_to_skip(
    candidates: Sequence[Candidate], texts: Sequence[str], text_fields: TextFields
) -> str | None:
    """Why there is nothing to rerank, or None."""
    if not candidates:
        return "no hits"
    if texts:
        return None
    named, held = ", ".join(text_fields.paths), ", ".join(candidates[0].payload) or "nothing"
    reason = f"no hit has text in {named} (the first one holds {held}): set text_fields.fields"
    log.warning("not reranked: %s", reason)
    return reason


def verdict(
    candidates: Sequence[Candidate], texts: Sequence[str], answer: Answer, blend: Blend
) -> Verdict:
    """What the scores of the distinct ``texts`` make of ``candidates``, in first-pass order."""
    scores = answer.scores
    if scores is None:
        reason = str(answer.error)
        return Verdict(
            ordering.unchanged(candidates),
            "fell_back",
            answer.reranker,
            reason,
            answer.error,
            answer.failed,
            billed=answer.billed,
        )
    scored = sum(score is not None for score in scores.raw)
    whole = scored == len(texts)
    return Verdict(
        ordering.rerank(candidates, _spread(scores, texts, candidates), blend),
        "reranked" if whole else "partial",
        answer.reranker,
        None if whole else _missing(scores, scored, len(texts)),
        failed=answer.failed,
        truncated=scores.truncated,
        billed=answer.billed,
        passages=_passages(scores, texts, candidates),
    )


def _missing(scores: Scores, scored: int, count: int) -> str:
    """Why not all documents have a score."""
    if not scores.failed:
        return f"there was time for {scored} of {count} documents"
    why = "; ".join(f"{name}: {why}" for name, why in scores.failed.items())
    return f"{scored} of {count} documents were scored ({why})"


def _passages(
    scores: Scores, texts: Sequence[str], candidates: Sequence[Candidate]
) -> dict[HitId, Span]:
    best = dict(zip(texts, scores.passages, strict=False))
    return {c.id: span for c in candidates if (span := best.get(c.text)) is not None}


def _spread(scores: Scores, texts: Sequence[str], candidates: Sequence[Candidate]) -> Scores:
    """Scores by distinct text become scores by candidate."""
    said = dict(zip(texts, zip(scores.raw, scores.relevance, strict=True), strict=True))
    both = [said.get(candidate.text, (None, None)) for candidate in candidates]
    return Scores([_number(raw) for raw, _ in both], [_number(given) for _, given in both])


def _number(value: Any) -> float | None:
    """A plain float: numpy's break ``json.dumps`` of a native response."""
    return None if value is None else float(value)
