"""Whether a reranker's scores look like the scale that they are declared to have."""

from __future__ import annotations

import threading

from vecdb_rerank.model import Scores

# Answers in a row that look wrong before the reranker is suspected: one alone may be honest, of a
# query that nothing answers.
SUSPECT_AFTER = 3
_FEWEST = 3  # scores in an answer that say something
_NOTHING = 1e-4  # a relevance below which a document has nothing of an answer


def why_suspect(scores: Scores) -> str | None:
    """Return what about an answer contradicts its declared scale, or None.

    Probabilities declared as logits all lie within 0 to 1, as no cross-encoder's logits do; scores
    that are all equal or all near 0 rank nothing.
    """
    known = [
        (raw, relevance)
        for raw, relevance in zip(scores.raw, scores.relevance, strict=True)
        if raw is not None and relevance is not None
    ]
    if len(known) < _FEWEST:
        return None
    raws = [raw for raw, _ in known]
    if min(raws) == max(raws):
        return "all its scores are equal"
    is_logit = any(raw != relevance for raw, relevance in known) and not scores.calibrated
    if is_logit and all(0 <= raw <= 1 for raw in raws):
        return "its scores are declared as logits but all lie within 0 to 1"
    if not is_logit and max(relevance for _, relevance in known) < _NOTHING:
        return "all its scores are near 0"
    return None


class ScaleWatch:
    """Counts the answers in a row that look wrong; shared by threads and tasks."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._lock = threading.Lock()

    def suspicion(self, scores: Scores) -> str | None:
        """Record an answer; return why its scale is suspected by now, or None."""
        reason = why_suspect(scores)
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if reason else 0
            return reason if self._in_a_row >= SUSPECT_AFTER else None
