"""The flows of a drop-in: the caller's own Qdrant query, with its hits reranked."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar, cast

from qdrant_client.conversions import common_types as types

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Ranking
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Hits
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import DropIn, Job, Plan, RequestInfo, batch, each, single
from vecdb_rerank_qdrant import plain, request_reader
from vecdb_rerank_qdrant.depth import deepen_request, with_text_alone
from vecdb_rerank_qdrant.page_payload import PagePayload, Retrieve
from vecdb_rerank_qdrant.payload_selection import Projection, project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.request_reader import Request
from vecdb_rerank_qdrant.responses import (
    Groups,
    Points,
    ascending,
    groups_ascending,
    points_of,
    with_points,
)

R = TypeVar("R")
# A native method, of a synchronous or an asynchronous client.
Native = Callable[..., R | Awaitable[R]]


def points(
    drop_in: DropIn,
    native: Native[types.QueryResponse],
    retrieve: Retrieve,
    arguments: Arguments,
    rerank: Rerank,
    rerank_query: str | None,
    *,
    over_grpc: bool,
) -> Flow[types.QueryResponse]:
    """Run ``native(**arguments)``, a ``query_points``, with its points reranked."""
    planned = _plan_points(drop_in, retrieve, arguments, rerank, rerank_query, over_grpc)
    sent = planned.deepen(arguments)
    return (yield from single(planned.job, lambda: native(**sent)))


def groups(
    drop_in: DropIn,
    native: Native[types.GroupsResult],
    retrieve: Retrieve,
    arguments: Arguments,
    rerank: Rerank,
    rerank_query: str | None,
    *,
    over_grpc: bool,
) -> Flow[types.GroupsResult]:
    """Run ``native(**arguments)``, a ``query_points_groups``, with its groups reranked."""
    planned = _plan_groups(drop_in, retrieve, arguments, rerank, rerank_query, over_grpc)
    sent = planned.deepen(arguments)
    return (yield from single(planned.job, lambda: native(**sent)))


def batch_points(
    drop_in: DropIn,
    native: Native[list[types.QueryResponse]],
    retrieve: Retrieve,
    arguments: Arguments,
    rerank: Rerank | Sequence[Rerank],
    rerank_query: str | Sequence[str | None] | None,
    *,
    over_grpc: bool,
) -> Flow[list[types.QueryResponse]]:
    """Run ``native(**arguments)``, a ``query_batch_points``, with each response reranked.

    A batch that needs no change is sent as the caller's own object.
    """
    own = cast("Sequence[types.QueryRequest]", arguments["requests"])
    if not isinstance(own, Sequence):  # the client takes any iterable
        own = list(own)
    reranks: list[Rerank] = each("rerank", rerank, bool | Policy, len(own))
    queries: list[str | None] = each("rerank_query", rerank_query, str | None, len(own))
    names = ("collection_name", "consistency", "timeout")
    common = {name: arguments.get(name) for name in names}
    planned = [
        _plan_points(
            drop_in,
            retrieve,
            {**common, **plain.arguments_of(request)},
            how,
            query,
            over_grpc,
        )
        for request, how, query in zip(own, reranks, queries, strict=True)
    ]
    deep = [one.deepen(request) for one, request in zip(planned, own, strict=True)]
    changed = any(new is not old for new, old in zip(deep, own, strict=True))
    sent = {**arguments, "requests": deep if changed else own}
    _, responses = yield from batch(
        [one.job for one in planned], lambda: native(**sent), lambda answer: answer
    )
    return responses


@dataclass(frozen=True, slots=True)
class _Planned(Generic[R]):
    """A request's job, and how to make the request deep enough for it."""

    job: Job[R]
    deepen: Callable[[Any], Any]  # keyword arguments or a QueryRequest, and the same kind back


def _plan_points(
    drop_in: DropIn,
    retrieve: Retrieve,
    request: Arguments,
    rerank: Rerank,
    query: str | None,
    over_grpc: bool,
) -> _Planned[types.QueryResponse]:
    read = plain.request(request)
    info = request_reader.read(read, drop_in.k, drop_in.rerank_depth)
    plan = drop_in.plan(info, rerank, query)
    hits = Points(over_grpc)

    def complete(
        later: PagePayload, response: types.QueryResponse, page: Ranking, deadline: Deadline
    ) -> Flow[types.QueryResponse]:
        positions = [hit.candidate.position for hit in page.hits]
        points = yield from later.retrieve(
            retrieve, response.points, positions, deadline, over_grpc=over_grpc
        )
        return response.model_copy(update={"points": points})

    return _planned(
        _Read(drop_in, request, read, info, plan),
        hits,
        lambda response: ascending(response.points),
        complete,
    )


def _plan_groups(
    drop_in: DropIn,
    retrieve: Retrieve,
    request: Arguments,
    rerank: Rerank,
    query: str | None,
    over_grpc: bool,
) -> _Planned[types.GroupsResult]:
    read = plain.request(request)
    info = request_reader.read(read, drop_in.k, drop_in.rerank_depth)
    plan = drop_in.plan(info, rerank, query)
    hits = Groups(over_grpc, info.limit)
    if plan.reason is None:  # `hits` cuts to the limit of groups; the ranking keeps all their hits
        plan = replace(plan, search=replace(plan.search, limit=sys.maxsize))

    def complete(
        later: PagePayload, response: types.GroupsResult, page: Ranking, deadline: Deadline
    ) -> Flow[types.GroupsResult]:
        kept = hits.kept(response, page).values()
        positions = [hit.candidate.position for group in kept for hit in group]
        points = yield from later.retrieve(
            retrieve, points_of(response), positions, deadline, over_grpc=over_grpc
        )
        return with_points(response, points)

    return _planned(_Read(drop_in, request, read, info, plan), hits, groups_ascending, complete)


@dataclass(frozen=True, slots=True)
class _Read:
    """A request that has been read: what it asks for, and how it is handled."""

    drop_in: DropIn
    request: Arguments
    as_json: Request
    info: RequestInfo
    plan: Plan

    @property
    def projection(self) -> Projection:
        """The payload selector that brings the text too."""
        paths = self.plan.pipeline.text_fields.paths
        projection = project(plain.selector(self.request), paths)
        return projection if self.later is None else self.later.first(projection, paths)

    @property
    def later(self) -> PagePayload | None:
        """What comes for the page alone; None if all comes with the first pass."""
        if not self.drop_in.by_page(self.info):
            return None
        return PagePayload.of(self.request, plain.selector(self.request))


def _planned(
    read: _Read,
    hits: Hits[R],
    is_ascending: Callable[[R], bool],
    complete: Callable[[PagePayload, R, Ranking, Deadline], Flow[R]],
) -> _Planned[R]:
    plan, request, info = read.plan, read.request, read.info
    if plan.reason is not None:
        return _Planned(Job(plan, hits, FirstPass), lambda given: given)
    projection, later = read.projection, read.later
    fused_by = request_reader.fused_by(read.as_json)

    def first(response: R) -> FirstPass[R]:
        return FirstPass(
            response,
            fused_by,
            injected_fields=projection,
            ascending=is_ascending(response),
            complete=None if later is None else partial(complete, later, response),
        )

    def deepen(given: Any) -> Any:
        deeper = deepen_request(given, request, info, plan.search.k, projection)
        return deeper if later is None else with_text_alone(deeper, projection)

    return _Planned(Job(plan, hits, first), deepen)
