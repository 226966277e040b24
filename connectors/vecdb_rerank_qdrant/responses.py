"""From Qdrant's responses to candidates and back: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client.http import models

from vecdb_rerank import fusion
from vecdb_rerank.candidates import Candidate, HitId, Ranking
from vecdb_rerank.documents import Documents
from vecdb_rerank.errors import SchemaError
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.search import Fusion, Mode
from vecdb_rerank_qdrant.requests import WHOLE_PAYLOAD


def candidates(first: FirstPass[models.QueryResponse], documents: Documents) -> list[Candidate]:
    """The response's points as candidates, in its order."""
    return [
        Candidate(
            position=position,
            id=_hit_id(point),
            text=documents.text(point.payload),
            score=point.score,
            payload=point.payload or {},
            branches={
                name: hits[_hit_id(point)]
                for name, hits in first.evidence.items()
                if _hit_id(point) in hits
            },
        )
        for position, point in enumerate(first.response.points)
    ]


def rebuild(first: FirstPass[models.QueryResponse], ranking: Ranking) -> models.QueryResponse:
    """The response with the ranking's points, in its order, with its scores."""
    points = first.response.points
    return first.response.model_copy(
        update={
            "points": [
                _without(points[hit.candidate.position], first.forced).model_copy(
                    update={"score": hit.score}
                )
                for hit in ranking.hits
            ]
        }
    )


def first_pass(mode: Mode, response: models.QueryResponse) -> FirstPass[models.QueryResponse]:
    """The first pass of a single request; a single branch is its own evidence."""
    if mode == "hybrid":
        return FirstPass(response, "database")
    return FirstPass(response, "none", evidence({mode: response}))


def require_similarity(response: models.QueryResponse, where: str) -> None:
    """`SchemaError` for a dense branch ordered by a distance: its scores rise down the list.

    Everything here takes a higher score for a better hit, and would turn the order around.
    """
    points = response.points
    if points and points[0].score < points[-1].score:
        raise SchemaError(
            f"{where}: of the dense vector's distance (Euclid, Manhattan) less is better; "
            "use a collection with cosine or dot product"
        )


def evidence(branches: Mapping[str, models.QueryResponse]) -> Evidence:
    """What each branch said of each hit."""
    return {
        name: fusion.branch((_hit_id(point), point.score) for point in response.points)
        for name, response in branches.items()
    }


def fuse(
    branches: Mapping[str, models.QueryResponse],
    how: Fusion,
    k: int,
    threshold: float | None = None,
) -> models.QueryResponse:
    """Fuse the branches (bm25, dense) here; k hits from ``threshold`` up."""
    points = {_hit_id(p): p for response in branches.values() for p in response.points}
    fused = fusion.fuse(list(evidence(branches).values()), how)[:k]
    kept = [(i, s) for i, s in fused if threshold is None or s >= threshold]
    return next(iter(branches.values())).model_copy(
        update={"points": [points[i].model_copy(update={"score": s}) for i, s in kept]}
    )


def _hit_id(point: models.ScoredPoint) -> HitId:
    return point.id if isinstance(point.id, int | str) else str(point.id)


def _without(point: models.ScoredPoint, forced: Sequence[str]) -> models.ScoredPoint:
    if not forced:
        return point
    if WHOLE_PAYLOAD in forced:
        return point.model_copy(update={"payload": None})
    payload: Any = point.payload
    for path in forced:
        payload = _removed(payload, path)
    return point.model_copy(update={"payload": payload})


def _removed(payload: Any, path: str) -> Any:
    """A copy of ``payload`` without the value at a dotted path; nothing else is touched."""
    if not isinstance(payload, Mapping):
        return payload
    if path in payload:
        return {key: value for key, value in payload.items() if key != path}
    head, _, rest = path.partition(".")
    if head not in payload or not rest:
        return payload
    inner = _removed(payload[head], rest)
    if inner == {} and payload[head] != {}:  # the parent came only for what is taken out
        return {key: value for key, value in payload.items() if key != head}
    return {**payload, head: inner}
