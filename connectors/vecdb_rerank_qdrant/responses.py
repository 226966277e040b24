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
from vecdb_rerank_qdrant.payloads import Projection


def candidates(first: FirstPass[models.QueryResponse], documents: Documents) -> list[Candidate]:
    """The response's points as candidates, in its order."""
    return read(first.response.points, documents, first.evidence)


def read(
    points: Sequence[models.ScoredPoint], documents: Documents, evidence: Evidence | None = None
) -> list[Candidate]:
    """Points as candidates, in their order, with what single branches said of them."""
    return [
        Candidate(
            position=position,
            id=_hit_id(point),
            text=documents.text(point.payload),
            score=point.score,
            payload=point.payload or {},
            branches={
                name: hits[_hit_id(point)]
                for name, hits in (evidence or {}).items()
                if _hit_id(point) in hits
            },
        )
        for position, point in enumerate(points)
    ]


def rebuild(
    first: FirstPass[models.QueryResponse], ranking: Ranking, over_grpc: bool = False
) -> models.QueryResponse:
    """The response with the ranking's points, in its order, with its scores."""
    points = reordered(first.response.points, first.forced, ranking, over_grpc)
    return first.response.model_copy(update={"points": points})


def reordered(
    points: Sequence[models.ScoredPoint], forced: Any, ranking: Ranking, over_grpc: bool
) -> list[models.ScoredPoint]:
    """The ranking's points, with its scores and without what was ``forced`` in."""
    found = [points[hit.candidate.position] for hit in ranking.hits]
    payloads = [point.payload for point in found]
    if isinstance(forced, Projection):
        payloads = forced.shown(payloads, over_grpc)
    return [
        point.model_copy(update={"score": hit.score, "payload": payload})
        for point, hit, payload in zip(found, ranking.hits, payloads, strict=True)
    ]


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
