"""The flows of a drop-in: the caller's own Qdrant query, with its hits reranked."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar, cast

from qdrant_client.conversions import common_types as types

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Hits
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import DropIn, Job, Plan, RequestInfo, batch, each, single
from vecdb_rerank_qdrant import errors, plain, request_reader
from vecdb_rerank_qdrant.depth import deepen_request, within
from vecdb_rerank_qdrant.payload_selection import project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.request_reader import Request
from vecdb_rerank_qdrant.responses import Groups, Points, ascending, groups_ascending

R = TypeVar("R")
# A native method, of a synchronous or an asynchronous client.
Native = Callable[..., R | Awaitable[R]]
_REFUSED = "Qdrant refused the deeper search, so the caller's own was sent: {}"


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
    collection = arguments["collection_name"]
    return (
        yield from _deep_or_own(
            drop_in,
            native,
            arguments,
            lambda: _plan_points(drop_in, collection, arguments, rerank, rerank_query, over_grpc),
        )
    )


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
    return (
        yield from _deep_or_own(
            drop_in,
            native,
            arguments,
            lambda: _plan_groups(drop_in, arguments, rerank, rerank_query, over_grpc),
        )
    )


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

    A batch that needs no change is sent as the caller's own object. One that the server refuses
    is sent again, as in `_deep_or_own`.
    """
    own = cast("Sequence[types.QueryRequest]", arguments["requests"])
    if not isinstance(own, Sequence):  # the client takes any iterable
        own = list(own)
    reranks: list[Rerank] = each("rerank", rerank, bool | Policy, len(own))
    queries: list[str | None] = each("rerank_query", rerank_query, str | None, len(own))
    collection, own_batch = arguments["collection_name"], {**arguments, "requests": own}
    while True:
        planned = [
            _plan_points(drop_in, collection, plain.arguments_of(request), how, query, over_grpc)
            for request, how, query in zip(own, reranks, queries, strict=True)
        ]
        jobs = [one.job for one in planned]
        deep = [one.deepen(request) for one, request in zip(planned, own, strict=True)]
        if all(new is old for new, old in zip(deep, own, strict=True)):
            return (yield from _batch(jobs, native, own_batch))
        try:
            return (yield from _batch(jobs, native, {**arguments, "requests": deep}))
        except Exception as error:
            if not errors.is_refused(error):
                raise
            learned, why = _learn(drop_in, collection, error), errors.reason(error)
        if not learned:
            passed = [job.passed(_REFUSED.format(why)) for job in jobs]
            return (yield from _batch(passed, native, own_batch))


def _batch(
    jobs: Sequence[Job[types.QueryResponse]],
    native: Native[list[types.QueryResponse]],
    arguments: Arguments,
) -> Flow[list[types.QueryResponse]]:
    _, responses = yield from batch(jobs, lambda: native(**arguments), lambda answer: answer)
    return responses


def _deep_or_own(
    drop_in: DropIn, native: Native[R], own: Arguments, plan: Callable[[], _Planned[R]]
) -> Flow[R]:
    """Send a request as deep as planned.

    If the server refuses that for a limit of the collection, the limit is learned and the request
    planned again; if it refuses for another reason, the caller's own is sent.
    """
    while True:
        planned = plan()
        sent = planned.deepen(own)
        if sent is own:
            return (yield from single(planned.job, lambda: native(**own)))
        try:
            return (yield from single(planned.job, partial(native, **sent)))
        except Exception as error:
            if not errors.is_refused(error):
                raise
            learned, why = _learn(drop_in, own["collection_name"], error), errors.reason(error)
        if not learned:
            passed = planned.job.passed(_REFUSED.format(why))
            return (yield from single(passed, lambda: native(**own)))


def _learn(drop_in: DropIn, collection: object, error: Exception) -> bool:
    """Remember the collection's ``max_query_limit`` if ``error`` names it; return if it is news."""
    name, value = errors.exceeded_limit(error) or ("", 0)
    return name == "limit" and drop_in.learn_depth(str(collection), value)


@dataclass(frozen=True, slots=True)
class _Planned(Generic[R]):
    """A request's job, and how to make the request deep enough for it."""

    job: Job[R]
    deepen: Callable[[Any], Any]  # keyword arguments or a QueryRequest, and the same kind back


def _plan_points(
    drop_in: DropIn,
    collection: object,
    request: Arguments,
    rerank: Rerank,
    query: str | None,
    over_grpc: bool,
) -> _Planned[types.QueryResponse]:
    read, most = plain.request(request), drop_in.depths.get(str(collection))
    drop_in, info = _read(drop_in, read, most)
    plan = drop_in.plan(info, rerank, query)
    hits = Points(over_grpc)
    return _planned(
        plan, hits, request, read, info, most, lambda response: ascending(response.points)
    )


def _plan_groups(
    drop_in: DropIn, request: Arguments, rerank: Rerank, query: str | None, over_grpc: bool
) -> _Planned[types.GroupsResult]:
    read, most = plain.request(request), drop_in.depths.get(str(request["collection_name"]))
    drop_in, info = _read(drop_in, read, most)
    plan = drop_in.plan(info, rerank, query)
    hits = Groups(over_grpc, info.limit)
    if plan.reason is None:  # `hits` cuts to the limit of groups; the ranking keeps all their hits
        plan = replace(plan, search=replace(plan.search, limit=sys.maxsize))
    return _planned(plan, hits, request, read, info, most, groups_ascending)


def _read(drop_in: DropIn, request: Request, most: int | None) -> tuple[DropIn, RequestInfo]:
    """Read a request to a collection that allows ``most`` hits, and return what reranks those."""
    info = request_reader.read(request, drop_in.k, drop_in.rerank_depth)
    if most is None or info.own_depth or info.obstacle is not None:
        return drop_in, info
    k = within(info, drop_in.k, most, groups="group_by" in request)
    info = request_reader.read(request, k, drop_in.rerank_depth)
    if info.tail_follows and info.offset < k and most < info.offset + info.limit:
        why = f"the page ends past the {most} hits that the collection's max_query_limit allows"
        return drop_in, replace(info, obstacle=why)
    return drop_in.within(k, info, f"the collection's max_query_limit is {most}")


def _planned(
    plan: Plan,
    hits: Hits[R],
    request: Arguments,
    read: Request,
    info: RequestInfo,
    most: int | None,
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
        lambda given: deepen_request(given, request, info, plan.search.k, projection, most),
    )
