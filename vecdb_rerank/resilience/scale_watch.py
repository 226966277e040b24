"""Whether a reranker's scores look like the scale that they are declared to have."""

from __future__ import annotations

import threading
from dataclasses import replace

from vecdb_rerank.model import Scores, clip_relevance, sigmoid

# Answers in a row that look wrong before the reranker is suspected: one alone may be honest, of a
# query that nothing answers.
SUSPECT_AFTER = 3
_FEWEST = 3  # scores in an answer that say something
_NOTHING = 1e-4  # a relevance below which a document has nothing of an answer
_EQUAL = 1e-6  # a smaller spread, relative to the scores, is rounding
# Logits from here on have a relevance of 1.0 in a double; no cross-encoder's are so high.
_SATURATED = 36.0
# The sigmoid of 0 and of 1, which bound what a second sigmoid makes of probabilities.
_TWICE = (0.5, sigmoid(1.0))
_MANY = 10  # scores that are not all within so narrow a range by chance


def why_suspect(scores: Scores) -> str | None:
    """Return what about an answer contradicts its declared scale, or None.

    Probabilities declared as logits all lie within 0 to 1, as no cross-encoder's logits do, and
    percentages within 0 to 100. Scores that are all equal or all near 0 rank nothing.
    """
    known = _known(scores)
    if len(known) < _FEWEST:
        return None
    raws = [raw for raw, _ in known]
    relevances = [relevance for _, relevance in known]
    low, high = min(raws), max(raws)
    if high - low <= _EQUAL * max(abs(low), abs(high)):
        return "all its scores are equal"
    is_logit = any(raw != relevance for raw, relevance in known) and not scores.calibrated
    if is_logit and all(clip_relevance(raw) is not None for raw in raws):
        return "its scores are declared as logits but all lie within 0 to 1"
    if is_logit and low >= 0 and _SATURATED < high <= 100:
        return "its scores are declared as logits but look like percentages"
    if not is_logit and max(relevances) < _NOTHING:
        return "all its scores are near 0"
    within = _TWICE[0] <= min(relevances) and max(relevances) <= _TWICE[1]
    if not is_logit and len(known) >= _MANY and within:
        return "its scores all lie within 0.5 to 0.73, as after a second sigmoid"
    return None


def _known(scores: Scores) -> list[tuple[float, float]]:
    """Return score and relevance of the documents that were scored."""
    return [
        (raw, relevance)
        for raw, relevance in zip(scores.raw, scores.relevance, strict=True)
        if raw is not None and relevance is not None
    ]


class ScaleWatch:
    """Counts the answers in a row that look wrong; shared by threads and tasks."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._reason: str | None = None  # of the last answer that says something
        self._lock = threading.Lock()

    @property
    def reason(self) -> str | None:
        """Why the scale is suspected by the answers so far, or None."""
        return self._reason if self._in_a_row >= SUSPECT_AFTER else None

    def suspicion(self, scores: Scores) -> str | None:
        """Record an answer; return why its scale is suspected by now, or None.

        An answer with too few scores to say anything changes nothing.
        """
        return self.answer().add(scores)

    def answer(self) -> WatchedAnswer:
        """Return an answer to record part by part."""
        return WatchedAnswer(self)

    def count(self, before: int | None, reason: str | None) -> tuple[int, str | None]:
        """Count an answer once, also if it grows: ``before`` is what its first part returned.

        Return the count before it, and why the scale is suspected by now, or None.
        """
        with self._lock:
            before = self._in_a_row if before is None else before
            self._reason = reason
            self._in_a_row = before + 1 if reason else 0
            return before, self.reason


class WatchedAnswer:
    """The answer to one search, which may come in parts and counts once."""

    def __init__(self, watch: ScaleWatch) -> None:
        self._watch = watch
        self._parts: list[Scores] = []
        self._before: int | None = None

    def add(self, part: Scores) -> str | None:
        """Record a part; return why the scale is suspected by now, or None."""
        self._parts.append(part)
        whole = replace(
            part,
            raw=[raw for each in self._parts for raw in each.raw],
            relevance=[value for each in self._parts for value in each.relevance],
        )
        if len(_known(whole)) < _FEWEST:
            return self._watch.reason
        self._before, reason = self._watch.count(self._before, why_suspect(whole))
        return reason
