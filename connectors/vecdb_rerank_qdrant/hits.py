"""How the responses to other people's requests are read and put in order; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from qdrant_client.http import models

from vecdb_rerank import fusion
from vecdb_rerank.candidates import Candidate, RankedHit, Ranking
from vecdb_rerank.documents import Documents
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank_qdrant import responses


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a query."""

    name: ClassVar[str] = "qdrant"
    over_grpc: bool

    def candidates(
        self, first: FirstPass[models.QueryResponse], documents: Documents
    ) -> Sequence[Candidate]:
        """The response's points, in its order."""
        return responses.candidates(first, documents)

    def rebuild(
        self, first: FirstPass[models.QueryResponse], ranking: Ranking
    ) -> models.QueryResponse:
        """The response with the ranking's points."""
        return responses.rebuild(first, ranking, self.over_grpc)


@dataclass(frozen=True, slots=True)
class Groups:
    """The points of the groups of a query: in order within each, groups by their best one.

    The response keeps ``limit`` groups.
    """

    name: ClassVar[str] = "qdrant"
    over_grpc: bool
    limit: int

    def candidates(
        self, first: FirstPass[models.GroupsResult], documents: Documents
    ) -> Sequence[Candidate]:
        """The points of all groups, best first."""
        found = responses.read(_points(first.response), documents)
        return fusion.first_pass_order(found, first.rising)

    def rebuild(
        self, first: FirstPass[models.GroupsResult], ranking: Ranking
    ) -> models.GroupsResult:
        """The response with the ranking's points, each in its group."""
        groups = first.response.groups
        home = [n for n, group in enumerate(groups) for _ in group.hits]
        members: dict[int, list[RankedHit]] = {}
        for hit in ranking.hits:
            members.setdefault(home[hit.candidate.position], []).append(hit)
        points = _points(first.response)
        kept = [
            groups[n].model_copy(
                update={
                    "hits": responses.reordered(
                        points, first.forced, Ranking.of(hits), self.over_grpc
                    )
                }
            )
            for n, hits in list(members.items())[: self.limit]
        ]
        return first.response.model_copy(update={"groups": kept})


def rising(points: Sequence[models.ScoredPoint]) -> bool:
    """Whether less is better (a distance): the first point is not the one with the most."""
    return bool(points) and points[0].score < max(point.score for point in points)


def rising_groups(response: models.GroupsResult) -> bool:
    """The same of groups."""
    return rising(_points(response))


def _points(response: models.GroupsResult) -> list[models.ScoredPoint]:
    return [point for group in response.groups for point in group.hits]
