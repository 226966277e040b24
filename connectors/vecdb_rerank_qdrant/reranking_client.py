"""Drop-in clients: a Qdrant client whose queries are reranked, everything else untouched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.conversions import common_types as types
from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass
from vecdb_rerank.search.connector import (
    AsyncDriver,
    DropInClient,
    Rerankers,
    SyncDriver,
    refuse_wrong_client,
)
from vecdb_rerank.search.dropin import (
    DropIn,
    Job,
    MissingQuery,
    Rerank,
    RerankDepth,
    batch,
    each,
    single,
)
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import plain, request_reader
from vecdb_rerank_qdrant.depth import K, deepen_request
from vecdb_rerank_qdrant.payload_selection import project
from vecdb_rerank_qdrant.plain import Arguments
from vecdb_rerank_qdrant.responses import Groups, Points, ascending, groups_ascending
from vecdb_rerank_qdrant.store import is_grpc

PointsT = TypeVar("PointsT")
BatchT = TypeVar("BatchT")
GroupsT = TypeVar("GroupsT")
# What is the drop-in's own; every other attribute is the wrapped client's.
_OWN = frozenset(
    {
        "query_points",
        "query_batch_points",
        "query_points_groups",
        "close",
        "_batch",
        "_instead",
        "_other",
        "_reranking",
        "_run",
        "_single",
        "_wrapped",
    }
)


class _Reranking(DropInClient, Generic[PointsT, BatchT, GroupsT]):
    """A client's queries, reranked.

    Args:
        client: the client you have: REST, gRPC or local.
        reranker: scores the hits; by default the bundled cross-encoder; None for none; a sequence
            of several is a chain, in which the next one is asked where one fails.
        documents: which payload fields are a document's text.
        policy: deadline, failures, minimum relevance, blend.
        k: hits of the first pass that are reranked (1 to 10,000).
        on_missing_query: where no query text is found, ``pass`` sends the request as it is,
            ``raise`` raises `ConfigurationError`.
        rerank_depth: ``window`` asks the database for ``k`` hits and reranks those; ``own`` never
            asks for more hits than the request does, and reranks them.

    """

    _wrapped: Any
    _reranking: DropIn
    _other: ClassVar[type]  # the client of the other colour, and whom it is for
    _instead: ClassVar[str]

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: Policy | None = None,
        k: int = K,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
    ) -> None:
        # The client's own __init__ is not called: it would make another connection.
        refuse_wrong_client(client, self._other, self._instead)
        object.__setattr__(self, "_wrapped", client)
        drop_in = DropIn.of(
            reranker,
            text_fields=text_fields,
            policy=policy,
            k=k,
            on_missing_query=on_missing_query,
            rerank_depth=rerank_depth,
        )
        object.__setattr__(self, "_reranking", drop_in)

    def query_points(
        self,
        collection_name: str,
        query: types.PointId
        | list[float]
        | list[list[float]]
        | types.SparseVector
        | types.Query
        | types.NumpyArray
        | types.Document
        | types.Image
        | types.InferenceObject
        | None = None,
        using: str | None = None,
        prefetch: types.Prefetch | list[types.Prefetch] | None = None,
        query_filter: types.Filter | None = None,
        search_params: types.SearchParams | None = None,
        limit: int = 10,
        offset: int | None = None,
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        score_threshold: float | None = None,
        lookup_from: types.LookupLocation | None = None,
        consistency: types.ReadConsistency | None = None,
        shard_key_selector: types.ShardKeySelector | None = None,
        timeout: int | None = None,
        *,
        rerank_query: str | None = None,
        rerank: Rerank = True,
        **kwargs: Any,
    ) -> PointsT:
        """As the client's own, reranked.

        Args:
            rerank_query: the text to rerank by; by default the text in the request, where it
                holds one (a ``Document`` or ``TextQuery``, in prefetches too).
            rerank: False sends the request as it is; a `Policy` is this call's alone.
            others: as in the client; ``score_threshold`` tests first-pass scores, ``limit`` and
                ``offset`` page over the reranked hits.

        """
        return self._run(
            self._single(
                {
                    "collection_name": collection_name,
                    "query": query,
                    "using": using,
                    "prefetch": prefetch,
                    "query_filter": query_filter,
                    "search_params": search_params,
                    "limit": limit,
                    "offset": offset,
                    "with_payload": with_payload,
                    "with_vectors": with_vectors,
                    "score_threshold": score_threshold,
                    "lookup_from": lookup_from,
                    "consistency": consistency,
                    "shard_key_selector": shard_key_selector,
                    "timeout": timeout,
                    **kwargs,
                },
                self._wrapped.query_points,
                rerank,
                rerank_query,
            )
        )

    def query_points_groups(
        self,
        collection_name: str,
        group_by: str,
        query: types.PointId
        | list[float]
        | list[list[float]]
        | types.SparseVector
        | types.Query
        | types.NumpyArray
        | types.Document
        | types.Image
        | types.InferenceObject
        | None = None,
        using: str | None = None,
        prefetch: types.Prefetch | list[types.Prefetch] | None = None,
        query_filter: types.Filter | None = None,
        search_params: types.SearchParams | None = None,
        limit: int = 10,
        group_size: int = 3,
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        score_threshold: float | None = None,
        with_lookup: types.WithLookupInterface | None = None,
        lookup_from: types.LookupLocation | None = None,
        consistency: types.ReadConsistency | None = None,
        shard_key_selector: types.ShardKeySelector | None = None,
        timeout: int | None = None,
        *,
        rerank_query: str | None = None,
        rerank: Rerank = True,
        **kwargs: Any,
    ) -> GroupsT:
        """As the client's own: points reranked inside their groups, groups by their best point.

        Arguments as in `query_points`. Groups of ``k`` hits in all are looked at, and ``limit`` of
        them come back, of the sizes that they had.
        """
        return self._run(
            self._single(
                {
                    "collection_name": collection_name,
                    "group_by": group_by,
                    "query": query,
                    "using": using,
                    "prefetch": prefetch,
                    "query_filter": query_filter,
                    "search_params": search_params,
                    "limit": limit,
                    "group_size": group_size,
                    "with_payload": with_payload,
                    "with_vectors": with_vectors,
                    "score_threshold": score_threshold,
                    "with_lookup": with_lookup,
                    "lookup_from": lookup_from,
                    "consistency": consistency,
                    "shard_key_selector": shard_key_selector,
                    "timeout": timeout,
                    **kwargs,
                },
                self._wrapped.query_points_groups,
                rerank,
                rerank_query,
            )
        )

    def query_batch_points(
        self,
        collection_name: str,
        requests: Sequence[types.QueryRequest],
        consistency: types.ReadConsistency | None = None,
        timeout: int | None = None,
        *,
        rerank_query: str | Sequence[str | None] | None = None,
        rerank: Rerank | Sequence[Rerank] = True,
        **kwargs: Any,
    ) -> BatchT:
        """As the client's own: each query reranked, with an outcome of its own.

        ``rerank_query`` and ``rerank`` are those of all queries, or a list with one for each. One
        rerank that fails leaves the others alone, and raises under no policy.
        """
        return self._run(
            self._batch(
                {
                    "collection_name": collection_name,
                    "requests": requests,
                    "consistency": consistency,
                    "timeout": timeout,
                    **kwargs,
                },
                rerank,
                rerank_query,
            )
        )

    def close(self, grpc_grace: float | None = None, **kwargs: Any) -> Any:
        """Close the wrapped client, and the rerankers' connections."""

        def flow() -> Flow[None]:
            yield from self._reranking.closing()
            yield Call(lambda: self._wrapped.close(grpc_grace, **kwargs))

        return self._run(flow())

    def _run(self, flow: Flow[Any]) -> Any:
        """Drive a flow in the client's colour."""
        raise NotImplementedError

    def _single(
        self,
        request: dict[str, Any],
        send: Callable[..., Any],
        rerank: Rerank,
        rerank_query: str | None,
    ) -> Flow[Any]:
        planned = _planned(self._reranking, request, rerank, rerank_query, is_grpc(self._wrapped))
        sent = planned.widened(request)
        return (yield from single(planned.job, lambda: send(**sent)))

    def _batch(
        self,
        call: dict[str, Any],
        rerank: Rerank | Sequence[Rerank],
        rerank_query: str | Sequence[str | None] | None,
    ) -> Flow[list[models.QueryResponse]]:
        requests, over_grpc = call["requests"], is_grpc(self._wrapped)
        if not isinstance(requests, Sequence):  # the client takes any iterable
            call = {**call, "requests": (requests := list(requests))}
        reranks: list[Rerank] = each("rerank", rerank, bool | Policy, len(requests))
        queries: list[str | None] = each("rerank_query", rerank_query, str | None, len(requests))
        planned = [
            _planned(self._reranking, plain.arguments_of(request), how, query, over_grpc)
            for request, how, query in zip(requests, reranks, queries, strict=True)
        ]
        deep = [plan.widened(request) for plan, request in zip(planned, requests, strict=True)]
        if any(one is not other for one, other in zip(deep, requests, strict=True)):
            call = {**call, "requests": deep}
        send = self._wrapped.query_batch_points
        jobs = [plan.job for plan in planned]
        _, responses = yield from batch(jobs, lambda: send(**call), lambda answer: answer)
        return responses

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            return object.__getattribute__(self, name)
        return getattr(self._wrapped, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._wrapped, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._wrapped, name)

    def __dir__(self) -> list[str]:
        return dir(self._wrapped)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wrapped!r})"

    def __del__(self) -> None:
        """Nothing ends with the wrapper: the wrapped client is the caller's."""


class RerankingQdrantClient(
    SyncDriver,
    _Reranking[types.QueryResponse, list[types.QueryResponse], types.GroupsResult],
    QdrantClient,
):
    """`_Reranking` of a `QdrantClient`."""

    _other = AsyncQdrantClient
    _instead = "AsyncRerankingQdrantClient"


class AsyncRerankingQdrantClient(
    AsyncDriver,
    _Reranking[
        Coroutine[Any, Any, types.QueryResponse],
        Coroutine[Any, Any, list[types.QueryResponse]],
        Coroutine[Any, Any, types.GroupsResult],
    ],
    AsyncQdrantClient,
):
    """`_Reranking` of an `AsyncQdrantClient`: queries are awaited."""

    _other = QdrantClient
    _instead = "RerankingQdrantClient"


for _client in (RerankingQdrantClient, AsyncRerankingQdrantClient):
    _client.__doc__ = f"{_client.__doc__}\n\n{_Reranking.__doc__}"


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request's job, and how the request is sent."""

    job: Job[Any]
    widened: Callable[[Any], Any]


def _planned(
    drop_in: DropIn, request: Arguments, rerank: Rerank, query: str | None, over_grpc: bool
) -> _Planned:
    read = plain.request(request)
    asked = request_reader.read(read, drop_in.k, drop_in.rerank_depth)
    plan = drop_in.plan(asked, rerank, query)
    if plan.reason is not None:
        return _Planned(Job(plan, Points(over_grpc), FirstPass), lambda request: request)
    text_fields = plan.pipeline.text_fields
    projection = project(plain.selector(request), text_fields.paths)
    first = partial(FirstPass, fused_by=request_reader.fused_by(read), injected_fields=projection)

    def widened(given: Any) -> Any:
        return deepen_request(given, request, asked, plan.search.k, projection)

    if "group_by" not in request:
        points = Points(over_grpc)
        return _Planned(
            Job(plan, points, lambda r: first(r, ascending=ascending(r.points))), widened
        )
    # Groups are cut to the limit when they are rebuilt, not their hits.
    whole = replace(plan, search=replace(plan.search, limit=sys.maxsize))
    groups = Groups(over_grpc, asked.limit)
    return _Planned(Job(whole, groups, lambda r: first(r, ascending=groups_ascending(r))), widened)
