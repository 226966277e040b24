"""The flows of a drop-in: the caller's own Qdrant query, with its hits reranked."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from qdrant_client.conversions import common_types as types

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Hits
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import DropIn, Job, Plan, RequestInfo, batch, each, single
from vecdb_rerank_qdrant import plain, request_reader
from vecdb_rerank_qdrant.depth import deepen_request
from vecdb_rerank_qdrant.payload_selection import project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.request_reader import Request
from vecdb_rerank_qdrant.responses import Groups, Points, ascending, groups_ascending

R = TypeVar("R")
# A native method, of a synchronous or an asynchronous client.
Native = Callable[..., R | Awaitable[R]]


def points(
    drop_in: DropIn,
    native: Native[types.QueryResponse],
    arguments: Arguments,
    rerank: Rerank,
    rerank_query: str | None,
    *,
    over_grpc: bool,
) -> Flow[types.QueryResponse]:
    """Run ``native(**arguments)``, a ``query_points``, with its points reranked."""
    planned = _plan_points(drop_in, arguments, rerank, rerank_query, over_grpc)
    sent = planned.deepen(arguments)
    return (yield from single(planned.job, lambda: native(**sent)))


def groups(
    drop_in: DropIn,
    native: Native[types.GroupsResult],
    arguments: Arguments,
    rerank: Rerank,
    rerank_query: str | None,
    *,
    over_grpc: bool,
) -> Flow[types.GroupsResult]:
    """Run ``native(**arguments)``, a ``query_points_groups``, with its groups reranked."""
    planned = _plan_groups(drop_in, arguments, rerank, rerank_query, over_grpc)
    sent = planned.deepen(arguments)
    return (yield from single(planned.job, lambda: native(**sent)))


def batch_points(
    drop_in: DropIn,
    native: Native[list[types.QueryResponse]],
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
    planned = [
        _plan_points(drop_in, plain.arguments_of(request), how, query, over_grpc)
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
    drop_in: DropIn, request: Arguments, rerank: Rerank, query: str | None, over_grpc: bool
) -> _Planned[types.QueryResponse]:
    read = plain.request(request)
    info = request_reader.read(read, drop_in.k, drop_in.rerank_depth)
    plan = drop_in.plan(info, rerank, query)
    hits = Points(over_grpc)
    return _planned(plan, hits, request, read, info, lambda response: ascending(response.points))


def _plan_groups(
    drop_in: DropIn, request: Arguments, rerank: Rerank, query: str | None, over_grpc: bool
) -> _Planned[types.GroupsResult]:
    read = plain.request(request)
    info = request_reader.read(read, drop_in.k, drop_in.rerank_depth)
    plan = drop_in.plan(info, rerank, query)
    hits = Groups(over_grpc, info.limit)
    if plan.reason is None:  # `hits` cuts to the limit of groups; the ranking keeps all their hits
        plan = replace(plan, search=replace(plan.search, limit=sys.maxsize))
    return _planned(plan, hits, request, read, info, groups_ascending)


def _planned(
    plan: Plan,
    hits: Hits[R],
    request: Arguments,
    read: Request,
    info: RequestInfo,
    is_ascending: Callable[[R], bool],
) -> _Planned[R]:
    if plan.reason is not None:
        return _Planned(Job(plan, hits, FirstPass), lambda given: given)
    projection = project(plain.selector(request), plan.pipeline.text_fields.paths)
    fused_by = request_reader.fused_by(read)
    return _Planned(
        Job(
            plan,
            hits,
            lambda response: FirstPass(
                response,
                fused_by,
                injected_fields=projection,
                ascending=is_ascending(response),
            ),
        ),
        lambda given: deepen_request(given, request, info, plan.search.k, projection),
    )
