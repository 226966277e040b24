"""The flows of a drop-in: the caller's own Qdrant query, with its hits reranked."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from qdrant_client.conversions import common_types as types
from qdrant_client.http import models

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Ranking
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Formula, Hits
from vecdb_rerank.search.arguments import Rerank
from vecdb_rerank.search.dropin import (
    DropIn,
    Job,
    Plan,
    RequestInfo,
    batch,
    each,
    single,
    single_of,
)
from vecdb_rerank_qdrant import errors, plain, queries, request_reader
from vecdb_rerank_qdrant.conditions import Conditions
from vecdb_rerank_qdrant.depth import deepen_request, needed_paths, with_text_alone, within
from vecdb_rerank_qdrant.native_scores import NativeScores
from vecdb_rerank_qdrant.page_payload import PagePayload, Retrieve
from vecdb_rerank_qdrant.payload_selection import Projection, project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.request_reader import Request
from vecdb_rerank_qdrant.responses import (
    Groups,
    Points,
    ascending,
    dense_vectors,
    points_of,
    with_points,
)

R = TypeVar("R")
# A native method, of a synchronous or an asynchronous client.
Native = Callable[..., R | Awaitable[R]]
_REFUSED = "Qdrant refused the deeper search, so the caller's own was sent: {}"


def points(
    drop_in: DropIn,
    native: Native[types.QueryResponse],
    native_batch: Native[list[types.QueryResponse]],
    retrieve: Retrieve,
    arguments: Arguments,
    rerank: Rerank,
    rerank_query: str | None,
    *,
    over_grpc: bool,
) -> Flow[types.QueryResponse]:
    """Run ``native(**arguments)``, a ``query_points``, with its points reranked.

    One with a formula goes through ``native_batch``, beside the scores under the formula.
    """

    def send(planned: _Planned[types.QueryResponse], sent: Arguments) -> Flow[types.QueryResponse]:
        if not planned.beside:
            return (yield from single(planned.job, lambda: native(**sent)))
        whole = queries.batch([sent])
        whole["requests"] += planned.beside
        return (
            yield from single_of(
                planned.job, lambda: native_batch(**whole), lambda got: _split([planned], got)[0]
            )
        )

    return (
        yield from _deep_or_own(
            drop_in,
            native,
            arguments,
            lambda: _plan_points(drop_in, retrieve, arguments, rerank, rerank_query, over_grpc),
            send,
        )
    )


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
    return (
        yield from _deep_or_own(
            drop_in,
            native,
            arguments,
            lambda: _plan_groups(drop_in, retrieve, arguments, rerank, rerank_query, over_grpc),
            lambda planned, sent: single(planned.job, lambda: native(**sent)),
        )
    )


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

    A batch that needs no change is sent as the caller's own object. One that the server refuses
    is sent again, as in `_deep_or_own`.
    """
    own = cast("Sequence[types.QueryRequest]", arguments["requests"])
    if not isinstance(own, Sequence):  # the client takes any iterable
        own = list(own)
    reranks: list[Rerank] = each("rerank", rerank, bool | Policy | Mapping, len(own))
    queries: list[str | None] = each("rerank_query", rerank_query, str | None, len(own))
    names = ("collection_name", "consistency", "timeout")
    common = {name: arguments.get(name) for name in names}
    own_batch = {**arguments, "requests": own}
    while True:
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
        jobs = [one.job for one in planned]
        deep = [one.deepen(request) for one, request in zip(planned, own, strict=True)]
        beside = [request for one in planned for request in one.beside]
        if not beside and all(new is old for new, old in zip(deep, own, strict=True)):
            return (yield from _batch(jobs, native, own_batch))
        try:
            whole = {**arguments, "requests": [*deep, *beside]}
            return (yield from _batch(jobs, native, whole, partial(_split, planned)))
        except Exception as error:
            if not errors.is_refused(error):
                raise
            learned = _learn(drop_in, arguments["collection_name"], error)
            why = errors.reason(error)
        if not learned:
            passed = [job.passed(_REFUSED.format(why)) for job in jobs]
            return (yield from _batch(passed, native, own_batch))


def _batch(
    jobs: Sequence[Job[types.QueryResponse]],
    native: Native[list[types.QueryResponse]],
    arguments: Arguments,
    split: Callable[[list[types.QueryResponse]], list[types.QueryResponse]] = list,
) -> Flow[list[types.QueryResponse]]:
    _, responses = yield from batch(jobs, lambda: native(**arguments), split)
    return responses


def _split(
    planned: Sequence[_Planned[types.QueryResponse]], answer: list[types.QueryResponse]
) -> list[types.QueryResponse]:
    """Return the responses to the caller's requests, and keep what came beside them."""
    beside = iter(answer[len(planned) :])
    for one in planned:
        one.came.extend(islice(beside, len(one.beside)))
    return answer[: len(planned)]


def _deep_or_own(
    drop_in: DropIn,
    native: Native[R],
    own: Arguments,
    plan: Callable[[], _Planned[R]],
    send: Callable[[_Planned[R], Arguments], Flow[R]],
) -> Flow[R]:
    """Send a request as deep as planned, by ``send``.

    If the server refuses that for a limit of the collection, the limit is learned and the request
    planned again; if it refuses for another reason, the caller's own is sent.
    """
    while True:
        planned = plan()
        sent = planned.deepen(own)
        if sent is own and not planned.beside:
            return (yield from single(planned.job, lambda: native(**own)))
        try:
            return (yield from send(planned, sent))
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
    """A request's job, and how to make the request deep enough for it.

    ``deepen`` takes keyword arguments or a `QueryRequest`, and returns the same kind. The requests
    ``beside`` go in the same batch; ``came`` takes their responses.
    """

    job: Job[R]
    deepen: Callable[[Any], Any]
    beside: Sequence[types.QueryRequest] = ()
    came: list[types.QueryResponse] = field(default_factory=list)


def _plan_points(
    drop_in: DropIn,
    retrieve: Retrieve,
    request: Arguments,
    rerank: Rerank,
    query: str | None,
    over_grpc: bool,
) -> _Planned[types.QueryResponse]:
    read, most = plain.request(request), drop_in.depths.get(str(request["collection_name"]))
    drop_in, info = _read(drop_in, read, most)
    plan = drop_in.plan(info, rerank, query)
    extras = drop_in.extras(rerank)
    conditions = Conditions.of(extras.filters)
    beside = (conditions, (*extras.fields, *conditions.fields), extras.vectors)
    hits = Points(over_grpc)

    def complete(
        later: PagePayload, response: types.QueryResponse, page: Ranking, deadline: Deadline
    ) -> Flow[types.QueryResponse]:
        positions = [hit.candidate.position for hit in page.hits]
        points = yield from later.retrieve(
            retrieve, response.points, positions, deadline, over_grpc=over_grpc
        )
        return response.model_copy(update={"points": points})

    native = None
    if plan.reason is None and request_reader.formula(read) is not None:
        native = NativeScores.of(request, most, drop_in.distances)
        if native is None:
            plan = replace(plan, reason="formula: the call has arguments that no batch takes")
    came: list[types.QueryResponse] = []
    planned = _planned(
        _Read(drop_in, request, read, info, plan, *beside, most),
        hits,
        lambda response: response.points,
        complete,
        lambda response: None if native is None else native.read(response.points, came),
    )
    return planned if native is None else replace(planned, beside=native.requests, came=came)


def _plan_groups(
    drop_in: DropIn,
    retrieve: Retrieve,
    request: Arguments,
    rerank: Rerank,
    query: str | None,
    over_grpc: bool,
) -> _Planned[types.GroupsResult]:
    read, most = plain.request(request), drop_in.depths.get(str(request["collection_name"]))
    drop_in, info = _read(drop_in, read, most)
    plan = drop_in.plan(info, rerank, query)
    extras = drop_in.extras(rerank)
    conditions = Conditions.of(extras.filters)
    beside = (conditions, (*extras.fields, *conditions.fields), extras.vectors)
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

    return _planned(
        _Read(drop_in, request, read, info, plan, *beside, most),
        hits,
        points_of,
        complete,
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """A request that has been read: what it asks for, and how it is handled.

    ``conditions`` are the filters of its policy's boosts, ``fields`` what its stages read beside
    the text. ``wants_vectors`` tells whether a stage compares hits. ``most`` is how many hits the
    collection allows, if it is known to limit them.
    """

    drop_in: DropIn
    request: Arguments
    as_json: Request
    info: RequestInfo
    plan: Plan
    conditions: Conditions
    fields: tuple[str, ...]
    wants_vectors: bool
    most: int | None

    @property
    def using(self) -> str | None:
        """The name of the vector that the request searches."""
        return cast("str | None", self.request.get("using"))

    @property
    def projection(self) -> Projection:
        """The payload selector that brings the text too."""
        text = needed_paths(self.plan.pipeline.text_fields, self.as_json)
        paths = (*text, *self.fields)
        projection = project(plain.selector(self.request), paths)
        return projection if self.later is None else self.later.first(projection, paths)

    @property
    def later(self) -> PagePayload | None:
        """What comes for the page alone; None if all comes with the first pass."""
        if not self.drop_in.by_page(self.info):
            return None
        return PagePayload.of(self.request, plain.selector(self.request))


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
    read: _Read,
    hits: Hits[R],
    points: Callable[[R], Sequence[models.ScoredPoint]],
    complete: Callable[[PagePayload, R, Ranking, Deadline], Flow[R]],
    formula: Callable[[R], Formula | None] = lambda _: None,
) -> _Planned[R]:
    plan, request, info = read.plan, read.request, read.info
    if plan.reason is not None:
        return _Planned(Job(plan, hits, FirstPass), lambda given: given)
    projection, later = read.projection, read.later
    fused_by = request_reader.fused_by(read.as_json)

    def first(response: R) -> FirstPass[R]:
        found = points(response)
        return FirstPass(
            response,
            fused_by,
            injected_fields=projection,
            ascending=ascending(found),
            complete=None if later is None else partial(complete, later, response),
            formula=formula(response),
            matching=read.conditions.matching(found),
            vectors=dense_vectors(found, read.using) if read.wants_vectors else {},
        )

    def deepen(given: Any) -> Any:
        deeper = deepen_request(given, request, info, plan.search.k, projection, read.most)
        return deeper if later is None else with_text_alone(deeper, projection)

    return _Planned(Job(plan, hits, first), deepen)
