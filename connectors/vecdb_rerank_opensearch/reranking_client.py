"""Drop-in clients: an OpenSearch client whose searches are reranked."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.arguments import AnyPolicy, Rerank, Rerankers, check_client
from vecdb_rerank.search.delegate import Delegate
from vecdb_rerank.search.dropin import DropIn, DropInPayload, MissingQuery, RerankDepth
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import conditions, request_reader, reranked_calls
from vecdb_rerank_opensearch.client import address
from vecdb_rerank_opensearch.reranked_calls import Queries, Reranks

log: logging.Logger = logging.getLogger("vecdb_rerank")


class _OpenSearchDelegate(Delegate):
    """Warns about searches by template, whose text is not in the request."""

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            if name in request_reader.TEMPLATES:
                _warn_once(name)
            return super().__getattribute__(name)


@cache
def _warn_once(method: str) -> None:
    log.warning(
        "%s is not reranked: %s; call search with the body (logged once)",
        method,
        request_reader.TEMPLATES[method],
    )


class RerankingOpenSearch(_OpenSearchDelegate, OpenSearch):
    """An `OpenSearch` client that reranks `search` and `msearch`; all else is the client's.

    Args:
        client: an `OpenSearch` client.
        reranker: scores the hits: ``"bundled"`` (default) for the bundled cross-encoder, a
            reranker, a function of a query and texts, the name of an installed one for its
            defaults (``"cohere"``), a sequence of these (the next one is called if one fails), or
            None.
        text_fields: which source fields are a document's text (default: title and text).
        policy: deadline, failures, minimum relevance, blend and more: a `Policy`, or its fields as
            a mapping.
        k: hits of the first pass to rerank (1 to 10,000); every page is cut from the same ones.
        on_missing_query: if no query text is found, ``pass`` sends the request unchanged,
            ``raise`` raises `ConfigurationError`.
        rerank_depth: ``window`` fetches ``k`` hits and reranks those; ``own`` fetches only the
            hits that the request finds, and reranks them.
        payload: ``all`` fetches everything with the first pass; ``page`` fetches only the text with
            it, and the source of the returned hits in a second request.
        instruction: what counts as relevant, such as ``prefer official documentation``, for
            rerankers that follow instructions; it replaces the reranker's own.

    Raises `ConfigurationError` if the client is of another kind or an option is wrong.

    """

    _wrapped: OpenSearch
    _drop_in: DropIn

    def __init__(
        self,
        client: OpenSearch,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: AnyPolicy | None = None,
        k: int = SearchDefaults().k,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
        payload: DropInPayload = "all",
        instruction: str | None = None,
    ) -> None:
        check_client(client, OpenSearch, AsyncOpenSearch, "AsyncRerankingOpenSearch")
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
        conditions.check(self._drop_in.extras(True).filters)

    def search(
        self,
        *,
        body: Any = None,
        index: Any = None,
        params: Any = None,
        headers: Any = None,
        rerank_query: str | None = None,
        rerank: Rerank = True,
        instruction: str | None = None,
        **arguments: Any,
    ) -> Any:
        """Search as the client does, and rerank the best ``k`` hits.

        Args:
            body: as in the client's ``search``, like all arguments that are not listed here.
            index: as in the client's ``search``.
            params: parameters of the URL.
            headers: headers of the request.
            rerank_query: the text to rerank by; by default the text in the body, if it holds one.
            rerank: False sends the request unchanged; a `Policy` applies to this call alone.
            instruction: what counts as relevant, for rerankers that follow instructions.
            arguments: parameters of the URL as keywords.

        Raises the client's own errors, `ConfigurationError` if ``rerank``, ``rerank_query``
        or ``instruction`` is wrong, and `RerankError` only with ``on_error="raise"``.

        """
        given = {"body": body, "index": index, "params": params, "headers": headers}
        flow = reranked_calls.search(
            self._drop_in.instructed(instruction),
            self._wrapped.search,
            {**given, **arguments},
            rerank,
            rerank_query,
        )
        return run(flow)

    def msearch(
        self,
        *,
        body: Any,
        index: Any = None,
        params: Any = None,
        headers: Any = None,
        rerank_query: Queries = None,
        rerank: Reranks = True,
        instruction: str | None = None,
        **arguments: Any,
    ) -> Any:
        """Run several searches in one request as the client does, and rerank each.

        ``rerank_query`` and ``rerank`` apply to all searches, or are lists with one value for
        each; ``instruction`` applies to all. Other arguments and errors as in `search`.
        """
        given = {"body": body, "index": index, "params": params, "headers": headers}
        flow = reranked_calls.msearch(
            self._drop_in.instructed(instruction),
            self._wrapped.msearch,
            {**given, **arguments},
            rerank,
            rerank_query,
        )
        return run(flow)

    def close(self) -> None:
        """Close the wrapped client and the rerankers' connections."""
        run(self._drop_in.closing())
        self._wrapped.close()

    def __enter__(self) -> Self:
        self._wrapped.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({address(self._wrapped)})"  # shows no credentials


class AsyncRerankingOpenSearch(_OpenSearchDelegate, AsyncOpenSearch):
    """`RerankingOpenSearch` for an `AsyncOpenSearch` client: same arguments, awaited methods."""

    _wrapped: AsyncOpenSearch
    _drop_in: DropIn

    def __init__(
        self,
        client: AsyncOpenSearch,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: AnyPolicy | None = None,
        k: int = SearchDefaults().k,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
        payload: DropInPayload = "all",
        instruction: str | None = None,
    ) -> None:
        check_client(client, AsyncOpenSearch, OpenSearch, "RerankingOpenSearch")
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
        conditions.check(self._drop_in.extras(True).filters)

    # The client's methods are no coroutine functions either, though they return coroutines; what
    # replaces them in a test (`mock.patch`) depends on it.
    def search(
        self,
        *,
        body: Any = None,
        index: Any = None,
        params: Any = None,
        headers: Any = None,
        rerank_query: str | None = None,
        rerank: Rerank = True,
        instruction: str | None = None,
        **arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Search as `RerankingOpenSearch.search` does."""
        given = {"body": body, "index": index, "params": params, "headers": headers}
        flow = reranked_calls.search(
            self._drop_in.instructed(instruction),
            self._wrapped.search,
            {**given, **arguments},
            rerank,
            rerank_query,
        )
        return run_async(flow)

    def msearch(
        self,
        *,
        body: Any,
        index: Any = None,
        params: Any = None,
        headers: Any = None,
        rerank_query: Queries = None,
        rerank: Reranks = True,
        instruction: str | None = None,
        **arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Run several searches in one request as `RerankingOpenSearch.msearch` does."""
        given = {"body": body, "index": index, "params": params, "headers": headers}
        flow = reranked_calls.msearch(
            self._drop_in.instructed(instruction),
            self._wrapped.msearch,
            {**given, **arguments},
            rerank,
            rerank_query,
        )
        return run_async(flow)

    async def close(self) -> None:
        """Close the wrapped client and the rerankers' connections."""
        await run_async(self._drop_in.closing())
        await self._wrapped.close()

    async def __aenter__(self) -> Self:
        await self._wrapped.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({address(self._wrapped)})"  # shows no credentials
