"""Read Qdrant's responses as candidates, and put them in order: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from qdrant_client.http import models

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.model import Candidate, HitId, RankedHit, Ranking
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.ranking import fusion, ordering
from vecdb_rerank.request import Fusion, Mode
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant.payload_selection import Projection


def candidates(first: FirstPass[models.QueryResponse], text_fields: TextFields) -> list[Candidate]:
    """Return the response's points as candidates, in its order."""
    return read(first.response.points, text_fields, first.evidence)


def read(
    points: Sequence[models.ScoredPoint], text_fields: TextFields, evidence: Evidence | None = None
) -> list[Candidate]:
    """Return points as candidates, in their order, with their hits in single branches."""
    found = [(_hit_id(point), point) for point in points]
    branches = (evidence or {}).items()
    return [
        Candidate(
            position=position,
            id=hit_id,
            text=text_fields.text(point.payload),
            score=point.score,
            payload=point.payload or {},
            branches={name: hits[hit_id] for name, hits in branches if hit_id in hits},
        )
        for position, (hit_id, point) in enumerate(found)
    ]


def rebuild(
    first: FirstPass[models.QueryResponse], ranking: Ranking, over_grpc: bool = False
) -> models.QueryResponse:
    """Return the response with the ranking's points, in its order, with its scores."""
    points = reordered(first.response.points, first.injected_fields, ranking, over_grpc)
    return first.response.model_copy(update={"points": points})


def reordered(
    points: Sequence[models.ScoredPoint], injected_fields: Any, ranking: Ranking, over_grpc: bool
) -> list[models.ScoredPoint]:
    """Return the ranking's points, with its scores, without ``injected_fields``."""
    found = [points[hit.candidate.position] for hit in ranking.hits]
    payloads = [point.payload for point in found]
    if isinstance(injected_fields, Projection):
        payloads = injected_fields.shown(payloads, over_grpc)
    return [
        point.model_copy(update={"score": hit.score, "payload": payload})
        for point, hit, payload in zip(found, ranking.hits, payloads, strict=True)
    ]


def first_pass(mode: Mode, response: models.QueryResponse) -> FirstPass[models.QueryResponse]:
    """Return the first pass of a single request; a single branch is its own evidence."""
    if mode == "hybrid":
        return FirstPass(response, "database")
    return FirstPass(response, "none", evidence({mode: response}))


def require_similarity(response: models.QueryResponse, where: str) -> None:
    """Raise `SchemaError` if the dense branch is ordered by a distance.

    Its scores rise down the list, and fusing and blending take a higher score for a better hit.
    """
    points = response.points
    if points and points[0].score < points[-1].score:
        raise SchemaError(
            f"{where}: the dense vector has a distance (Euclid, Manhattan), where less is better; "
            "use a collection with cosine or dot product"
        )


def evidence(branches: Mapping[str, models.QueryResponse]) -> Evidence:
    """Return the rank and score of each hit in each branch."""
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
    """Fuse the branches (bm25, dense); return k hits with scores from ``threshold`` up."""
    points = {_hit_id(p): p for response in branches.values() for p in response.points}
    fused = fusion.fuse(list(evidence(branches).values()), how)[:k]
    kept = [(i, s) for i, s in fused if threshold is None or s >= threshold]
    return next(iter(branches.values())).model_copy(
        update={"points": [points[i].model_copy(update={"score": s}) for i, s in kept]}
    )


def dense_vectors(
    points: Sequence[models.ScoredPoint], using: str | None
) -> dict[int, Sequence[float]]:
    """Return the dense vectors of points by their places, if these are what came with them.

    Of several named vectors it is the one named ``using``.
    """
    found: dict[int, Sequence[float]] = {}
    for place, point in enumerate(points):
        vector: Any = point.vector
        if isinstance(vector, Mapping):
            vector = vector.get(using or "")
        if isinstance(vector, list) and vector and isinstance(vector[0], float | int):
            found[place] = vector
    return found


def _hit_id(point: models.ScoredPoint) -> HitId:
    return point.id if isinstance(point.id, int | str) else str(point.id)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a query."""

    name: ClassVar[str] = "qdrant"
    over_grpc: bool

    def candidates(
        self, first: FirstPass[models.QueryResponse], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """Return the response's points, in its order."""
        return candidates(first, text_fields)

    def rebuild(
        self, first: FirstPass[models.QueryResponse], ranking: Ranking
    ) -> models.QueryResponse:
        """Return the response with the ranking's points."""
        return rebuild(first, ranking, self.over_grpc)


@dataclass(frozen=True, slots=True)
class Groups:
    """The points of the groups of a query: in order within each, groups by their best one.

    The response keeps ``limit`` groups.
    """

    name: ClassVar[str] = "qdrant"
    over_grpc: bool
    limit: int

    def candidates(
        self, first: FirstPass[models.GroupsResult], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """Return the points of all groups, best first."""
        found = read(points_of(first.response), text_fields)
        return ordering.first_pass_order(found, first.ascending)

    def rebuild(
        self, first: FirstPass[models.GroupsResult], ranking: Ranking
    ) -> models.GroupsResult:
        """Return the response with the ranking's points, each in its group."""
        groups, points = first.response.groups, points_of(first.response)
        kept = [
            groups[n].model_copy(
                update={
                    "hits": reordered(
                        points, first.injected_fields, Ranking.of(hits), self.over_grpc
                    )
                }
            )
            for n, hits in self.kept(first.response, ranking).items()
        ]
        return first.response.model_copy(update={"groups": kept})

    def kept(
        self, response: models.GroupsResult, ranking: Ranking
    ) -> Mapping[int, list[RankedHit]]:
        """Return the hits of the groups that are returned, by the group's place in the response."""
        home = [n for n, group in enumerate(response.groups) for _ in group.hits]
        members: dict[int, list[RankedHit]] = {}
        for hit in ranking.hits:
            members.setdefault(home[hit.candidate.position], []).append(hit)
        return dict(list(members.items())[: self.limit])


def ascending(points: Sequence[models.ScoredPoint]) -> bool:
    """Check whether lower scores are better (a distance): the first point has not the highest."""
    return bool(points) and points[0].score < max(point.score for point in points)


def with_points(
    response: models.GroupsResult, points: Sequence[models.ScoredPoint]
) -> models.GroupsResult:
    """Return the groups with other points, given in the order of the groups."""
    following = iter(points)
    groups = [
        group.model_copy(update={"hits": list(islice(following, len(group.hits)))})
        for group in response.groups
    ]
    return response.model_copy(update={"groups": groups})


def points_of(response: models.GroupsResult) -> list[models.ScoredPoint]:
    """Return the points of all groups, in the order of the groups."""
    return [point for group in response.groups for point in group.hits]
