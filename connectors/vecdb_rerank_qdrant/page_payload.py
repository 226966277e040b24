"""Bring payload and vectors for the hits of the page alone, in a second request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from qdrant_client.http import models

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow, call
from vecdb_rerank.http.time_limit import until
from vecdb_rerank_qdrant import payload_selection, queries
from vecdb_rerank_qdrant.payload_selection import Projection

Retrieve = Callable[..., list[models.Record] | Awaitable[list[models.Record]]]
# Arguments of ``query_points`` that ``retrieve`` takes too.
_SHARED = ("collection_name", "consistency", "shard_key_selector", "timeout")


@dataclass(frozen=True, slots=True)
class PagePayload:
    """What the caller asked for beside the scores, and the part of it that comes first.

    ``shared`` are the arguments of ``retrieve`` that the query has as well.
    """

    with_payload: object
    with_vectors: object
    shared: Mapping[str, object]

    @classmethod
    def of(cls, arguments: Mapping[str, object], with_payload: object) -> PagePayload | None:
        """Return what can come later for a query; None if it asks for neither."""
        with_payload = False if with_payload is None else with_payload
        given = arguments.get("with_vectors")
        with_vectors = False if given is None else given  # an empty list brings an empty mapping
        if with_payload is False and with_vectors is False:
            return None
        shared = {name: arguments[name] for name in _SHARED if arguments.get(name) is not None}
        return cls(with_payload, with_vectors, shared)

    def first(self, projection: Projection, paths: Sequence[str]) -> Projection:
        """Return the projection with a selector for the text alone."""
        text = payload_selection.project(False, paths)
        return replace(projection, selector=text.selector)

    def retrieve(
        self,
        client: Retrieve,
        points: Sequence[models.ScoredPoint],
        positions: Sequence[int],
        deadline: Deadline,
        *,
        over_grpc: bool,
    ) -> Flow[list[models.ScoredPoint]]:
        """Return ``points`` with payload and vectors of those at ``positions``.

        A point that is gone keeps what it has.
        """
        left = deadline.remaining()
        arguments: dict[str, Any] = {
            **self.shared,
            "ids": [points[n].id for n in positions],
            "with_payload": self.with_payload,
            "with_vectors": self.with_vectors,
        }
        if (seconds := queries.timeout(left)) is not None:
            given = cast("int | None", self.shared.get("timeout"))
            arguments["timeout"] = seconds if given is None else min(given, seconds)

        def send() -> list[models.Record] | Awaitable[list[models.Record]]:
            with until(deadline):
                return client(**arguments)

        records = yield from call(send, left)
        by_id = {str(record.id): record for record in records}
        wanted = {n: by_id[str(points[n].id)] for n in positions if str(points[n].id) in by_id}
        return [
            self._filled(point, wanted[n], over_grpc) if n in wanted else point
            for n, point in enumerate(points)
        ]

    def _filled(
        self, point: models.ScoredPoint, record: models.Record, over_grpc: bool
    ) -> models.ScoredPoint:
        changes: dict[str, object] = {}
        if self.with_payload is not False:
            # Over gRPC a query has None where `retrieve` has an empty payload.
            changes["payload"] = record.payload or None if over_grpc else record.payload
        if self.with_vectors is not False:
            changes["vector"] = record.vector
        return point.model_copy(update=changes)
