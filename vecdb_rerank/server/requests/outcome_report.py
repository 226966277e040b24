"""Tell a caller what happened in a search: pure.

Headers hold configured names and numbers alone. The whole outcome is JSON on request; sentences of
errors stay in the log, because they name servers and may repeat texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from urllib.parse import quote

from vecdb_rerank.model import HitId
from vecdb_rerank.outcome import Outcome

PREFIX = "x-vecdb-rerank"
OTHER = "other"  # stands for a name that is not configured
_MAX_NAME = 200  # characters


def headers(outcome: Outcome, rerankers: Collection[str]) -> dict[str, str]:
    """Return the headers of a search's response, less than 1 KB.

    ``rerankers`` are the names that may be shown.
    """
    found: dict[str, str] = {f"{PREFIX}-outcome": outcome.status}
    if outcome.reranker:
        name = outcome.reranker if outcome.reranker in rerankers else OTHER
        found[f"{PREFIX}-reranker"] = quote(name, safe=" /:.-_@+")[:_MAX_NAME]
    if outcome.timings:
        found["server-timing"] = ", ".join(
            f"{stage};dur={ms:.1f}" for stage, ms in outcome.timings.items()
        )
    return found


def as_json(outcome: Outcome) -> dict[str, object]:
    """Return an outcome in the types of JSON: values by candidate are rows of ``candidates``.

    ``reason`` is the class of the error, if one is the reason, and null if rerankers failed beside
    another. ``failed`` and ``notes`` are names and codes.
    """
    reason = None if outcome.failed else outcome.reason
    return {
        "status": outcome.status,
        "reason": type(outcome.error).__name__ if outcome.error is not None else reason,
        "backend": outcome.backend,
        "reranker": outcome.reranker,
        "mode": outcome.mode,
        "fused_by": outcome.fused_by,
        "k": outcome.k,
        "seen": outcome.seen,
        "scored": outcome.scored,
        "empty": outcome.empty,
        "estimated": outcome.estimated,
        "truncated": outcome.truncated,
        "stopped": outcome.stopped,
        "failed": sorted(outcome.failed),
        "notes": sorted(outcome.notes),
        "billed": dict(outcome.billed),
        "cost": outcome.cost,
        "would_skip": outcome.would_skip,
        "skip_change": outcome.skip_change,
        "timings": dict(outcome.timings),
        "branch_weights": {name: asdict(w) for name, w in outcome.branch_weights.items()},
        "candidates": [_row(outcome, hit) for hit in outcome.first_pass_score],
        "hits": [asdict(hit) for hit in outcome.hits],
    }


def _row(outcome: Outcome, hit: HitId) -> dict[str, object]:
    columns: Mapping[str, Mapping[HitId, object]] = {
        "relevance": outcome.relevance,
        "raw": outcome.raw,
        "first_pass_score": outcome.first_pass_score,
        "passage": outcome.passages,
    }
    return {"id": hit, **{name: values.get(hit) for name, values in columns.items()}}
