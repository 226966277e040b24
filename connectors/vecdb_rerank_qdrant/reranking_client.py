"""Drop-in clients: a Qdrant client whose queries are reranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.conversions import common_types as types

from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.search.arguments import AnyPolicy, Rerank, Rerankers, check_client
from vecdb_rerank.search.delegate import Delegate
from vecdb_rerank.search.dropin import DropIn, DropInPayload, MissingQuery, RerankDepth
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import reranked_calls
from vecdb_rerank_qdrant.client import is_grpc
from vecdb_rerank_qdrant.conditions import Conditions
from vecdb_rerank_qdrant.depth import K

Query = (
    types.PointId
    | list[float]
    | list[list[float]]
    | types.SparseVector
    | types.Query
    | types.NumpyArray
    | types.Document
    | types.Image
    | types.InferenceObject
    | None
)


class RerankingQdrantClient(Delegate, QdrantClient):
    """A `QdrantClient` that reranks: `query_points`, groups and batches; all else is the client's.

    Args:
        client: a `QdrantClient`: REST, gRPC or local.
        reranker: scores the hits: ``"bundled"`` (default) for the bundled cross-encoder, a
            reranker, a function of a query and texts, the name of an installed one for its
            defaults (``"cohere"``), a sequence of these (the next one is called if one fails), or
            None.
        text_fields: which payload fields are a document's text (default: title and text).
        policy: deadline, failures, minimum relevance, blend and more: a `Policy`, or its fields as
            a mapping.
        k: hits of the first pass to rerank (1 to 10,000).
        on_missing_query: if no query text is found, ``pass`` sends the request unchanged,
            ``raise`` raises `ConfigurationError`.
        rerank_depth: ``window`` fetches ``k`` hits and reranks those; ``own`` fetches only the
            hits that the request finds, and reranks them.
        payload: ``all`` fetches everything with the first pass; ``page`` fetches only the text with
            it, and payload and vectors of the returned hits in a second request.
        instruction: what counts as relevant, such as ``prefer official documentation``, for
            rerankers that follow instructions; it replaces the reranker's own.

    Raises `ConfigurationError` if the client is of another kind or an option is wrong.

    """

    _wrapped: QdrantClient
    _drop_in: DropIn

    def __init__(
        self,
        client: QdrantClient,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: AnyPolicy | None = None,
        k: int = K,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
        payload: DropInPayload = "all",
        instruction: str | None = None,
    ) -> None:
        # Not calling the client's own __init__, which would open another connection.
        check_client(client, QdrantClient, AsyncQdrantClient, "AsyncRerankingQdrantClient")
        self._wrapped = client
        self._drop_in = DropIn.of(
            reranker,
            text_fields=text_fields,
            policy=policy,
            k=k,
            on_missing_query=on_missing_query,
            rerank_depth=rerank_depth,
            payload=payload,
            instruction=instruction,
        )
        Conditions.of(self._drop_in.extras(True).filters)

    def query_points(
        self,
        collection_name: str,
        query: Query = None,
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
        instruction: str | None = None,
        **kwargs: Any,
    ) -> types.QueryResponse:
        """Query points as the client does, and rerank the best ``k``.

        Args are the client's, and:
            rerank_query: the text to rerank by; by default the text in the request, if it holds
                one (a ``Document`` or ``TextQuery``, in prefetches too).
            rerank: False sends the request unchanged; a `Policy` applies to this call alone.
            instruction: what counts as relevant, for rerankers that follow instructions.

        ``score_threshold`` tests first-pass scores; ``limit`` and ``offset`` page over the
        reranked hits. Raises the client's own errors, `ConfigurationError` if ``rerank``,
        ``rerank_query`` or ``instruction`` is wrong, and `RerankError` only with
        ``on_error="raise"``.
        """
        arguments = {
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
        }
        flow = reranked_calls.points(
            self._drop_in.instructed(instruction),
            self._wrapped.query_points,
            self._wrapped.query_batch_points,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return run(flow)

    def query_points_groups(
        self,
        collection_name: str,
        group_by: str,
        query: Query = None,
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
        instruction: str | None = None,
        **kwargs: Any,
    ) -> types.GroupsResult:
        """Query groups as the client does; rerank the points inside them and the groups.

        A group's place is that of its best point. Groups of ``k`` hits in total are read;
        ``limit`` of them are returned, with the sizes they had. ``rerank_query``, ``rerank``,
        ``instruction`` and errors as in `query_points`.
        """
        arguments = {
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
        }
        flow = reranked_calls.groups(
            self._drop_in.instructed(instruction),
            self._wrapped.query_points_groups,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return run(flow)

    def query_batch_points(
        self,
        collection_name: str,
        requests: Sequence[types.QueryRequest],
        consistency: types.ReadConsistency | None = None,
        timeout: int | None = None,
        *,
        rerank_query: str | Sequence[str | None] | None = None,
        rerank: Rerank | Sequence[Rerank] = True,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[types.QueryResponse]:
        """Send several queries as the client does, and rerank each; each has its own outcome.

        ``rerank_query`` and ``rerank`` apply to all queries, or are lists with one value for
        each; ``instruction`` applies to all. A failing rerank leaves its own query in first-pass
        order and raises nothing.
        """
        arguments = {
            "collection_name": collection_name,
            "requests": requests,
            "consistency": consistency,
            "timeout": timeout,
            **kwargs,
        }
        flow = reranked_calls.batch_points(
            self._drop_in.instructed(instruction),
            self._wrapped.query_batch_points,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return run(flow)

    def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the wrapped client and the rerankers' connections."""
        run(self._drop_in.closing())
        self._wrapped.close(grpc_grace, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRerankingQdrantClient(Delegate, AsyncQdrantClient):
    """`RerankingQdrantClient` for an `AsyncQdrantClient`: same arguments, awaited methods."""

    _wrapped: AsyncQdrantClient
    _drop_in: DropIn

    def __init__(
        self,
        client: AsyncQdrantClient,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: AnyPolicy | None = None,
        k: int = K,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
        payload: DropInPayload = "all",
        instruction: str | None = None,
    ) -> None:
        # Not calling the client's own __init__, which would open another connection.
        check_client(client, AsyncQdrantClient, QdrantClient, "RerankingQdrantClient")
        self._wrapped = client
        self._drop_in = DropIn.of(
            reranker,
            text_fields=text_fields,
            policy=policy,
            k=k,
            on_missing_query=on_missing_query,
            rerank_depth=rerank_depth,
            payload=payload,
            instruction=instruction,
        )
        Conditions.of(self._drop_in.extras(True).filters)

    async def query_points(
        self,
        collection_name: str,
        query: Query = None,
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
        instruction: str | None = None,
        **kwargs: Any,
    ) -> types.QueryResponse:
        """Query points as `RerankingQdrantClient.query_points` does."""
        arguments = {
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
        }
        flow = reranked_calls.points(
            self._drop_in.instructed(instruction),
            self._wrapped.query_points,
            self._wrapped.query_batch_points,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return await run_async(flow)

    async def query_points_groups(
        self,
        collection_name: str,
        group_by: str,
        query: Query = None,
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
        instruction: str | None = None,
        **kwargs: Any,
    ) -> types.GroupsResult:
        """Query groups as `RerankingQdrantClient.query_points_groups` does."""
        arguments = {
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
        }
        flow = reranked_calls.groups(
            self._drop_in.instructed(instruction),
            self._wrapped.query_points_groups,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return await run_async(flow)

    async def query_batch_points(
        self,
        collection_name: str,
        requests: Sequence[types.QueryRequest],
        consistency: types.ReadConsistency | None = None,
        timeout: int | None = None,
        *,
        rerank_query: str | Sequence[str | None] | None = None,
        rerank: Rerank | Sequence[Rerank] = True,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[types.QueryResponse]:
        """Send several queries as `RerankingQdrantClient.query_batch_points` does."""
        arguments = {
            "collection_name": collection_name,
            "requests": requests,
            "consistency": consistency,
            "timeout": timeout,
            **kwargs,
        }
        flow = reranked_calls.batch_points(
            self._drop_in.instructed(instruction),
            self._wrapped.query_batch_points,
            self._wrapped.retrieve,
            arguments,
            rerank,
            rerank_query,
            over_grpc=is_grpc(self._wrapped),
        )
        return await run_async(flow)

    async def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the wrapped client and the rerankers' connections."""
        await run_async(self._drop_in.closing())
        await self._wrapped.close(grpc_grace, **kwargs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
