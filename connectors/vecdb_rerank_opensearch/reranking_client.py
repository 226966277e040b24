"""The OpenSearch clients that rerank: drop-ins for opensearch-py's own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from opensearchpy import AsyncOpenSearch, OpenSearch

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.search.connector import (
    AsyncDriver,
    DropInClient,
    Rerankers,
    SyncDriver,
    refuse_wrong_client,
)
from vecdb_rerank.search.dropin import DropIn, MissingQuery, Rerank, RerankDepth
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import request_reader, reranked_calls
from vecdb_rerank_opensearch.reranked_calls import Queries, Query, Reranks
from vecdb_rerank_opensearch.store import where

log = logging.getLogger("vecdb_rerank")
_OWN = ("_client", "_drop_in")
F = TypeVar("F", bound=Callable[..., Any])
# To a type checker the drop-ins are the clients that they stand for; to `isinstance` as well.
if TYPE_CHECKING:
    from opensearchpy import AsyncOpenSearch as _Async
    from opensearchpy import OpenSearch as _Sync
else:
    _Sync = _Async = object


def _signed_as(native: Callable[..., Any]) -> Callable[[F], F]:
    """Give a method the native one's signature, with the two arguments that are ours."""

    def sign(method: F) -> F:
        ours = inspect.signature(method).parameters
        theirs = inspect.signature(native)
        added = [ours[name] for name in ("rerank_query", "rerank")]
        parameters = [*theirs.parameters.values(), *added]
        method.__signature__ = theirs.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's
        return method

    return sign


class _Reranking(DropInClient):
    """An OpenSearch client whose ``search`` and ``msearch`` give reranked hits, and all else as is.

    Args:
        client: the client you have.
        reranker: scores the hits; by default the bundled cross-encoder; None for none; a sequence
            of several is a chain, in which the next one is asked where one fails.
        documents: which source fields are a document's text.
        policy: deadline, failures, minimum relevance.
        k: hits (1 to 10,000) that are reranked: every page is cut from the same ones.
        on_missing_query: what happens to a call without a query text: ``pass`` it through, or
            ``raise`` a `ConfigurationError`.
        rerank_depth: ``window`` asks the database for ``k`` hits and reranks those; ``own`` never
            asks for more hits than the request does, and reranks them.

    """

    _native: ClassVar[type]
    _other: ClassVar[type]  # the client of the other colour, and whom it is for
    _instead: ClassVar[str]

    def __init__(
        self,
        client: Any,
        reranker: Rerankers = "bundled",
        *,
        text_fields: TextFields | None = None,
        policy: Policy | None = None,
        k: int = SearchDefaults().k,
        on_missing_query: MissingQuery = "pass",
        rerank_depth: RerankDepth = "window",
    ) -> None:
        refuse_wrong_client(client, self._other, self._instead)
        if not isinstance(client, self._native):
            given, wanted = type(client).__name__, self._native.__name__
            raise ConfigurationError("client", f"is of type {given}, not {wanted}")
        self._client: Any = client
        self._drop_in = DropIn.of(
            reranker,
            text_fields=text_fields,
            policy=policy,
            k=k,
            on_missing_query=on_missing_query,
            rerank_depth=rerank_depth,
        )

    @_signed_as(OpenSearch.search)
    def search(self, *, rerank_query: Query = None, rerank: Rerank = True, **arguments: Any) -> Any:
        """Search as OpenSearch does, with the best ``k`` hits reranked.

        The arguments are opensearch-py's, and so are the errors. ``rerank_query`` is the text to
        rerank by, where it is not the one that the body holds; ``rerank`` False leaves this call
        alone, a `Policy` is this call's.
        """
        flow = reranked_calls.search(
            self._drop_in, self._client.search, arguments, rerank, rerank_query
        )
        return self._run(flow)

    @_signed_as(OpenSearch.msearch)
    def msearch(
        self, *, rerank_query: Queries = None, rerank: Reranks = True, **arguments: Any
    ) -> Any:
        """Search several times in one request, each as `search` does.

        ``rerank_query`` and ``rerank`` are those of all of them, or a list with one for each.
        """
        flow = reranked_calls.msearch(
            self._drop_in, self._client.msearch, arguments, rerank, rerank_query
        )
        return self._run(flow)

    def close(self) -> Any:
        """Close the wrapped client, and the reranker's connections."""

        def flow() -> Flow[None]:
            yield from self._drop_in.closing()
            yield Call(self._client.close)

        return self._run(flow())

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:  # not made yet, as in a copy under way
            raise AttributeError(name)
        if name in request_reader.TEMPLATES:
            _warn_once(name)
        return getattr(self._client, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._client, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *dir(self._client)})

    @property  # type: ignore[misc]  # an attribute of object's
    def __class__(self) -> Any:
        """The wrapped client's class: whoever checks for it gets what he wants."""
        return type(self._client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({where(self._client)})"

    def _run(self, flow: Flow[Any]) -> Any:
        raise NotImplementedError


class RerankingOpenSearch(SyncDriver, _Reranking, _Sync):
    """`_Reranking` over an `OpenSearch` client."""

    _native, _other = OpenSearch, AsyncOpenSearch
    _instead = "AsyncRerankingOpenSearch"

    def __enter__(self) -> RerankingOpenSearch:
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRerankingOpenSearch(AsyncDriver, _Reranking, _Async):
    """`_Reranking` over an `AsyncOpenSearch` client: its methods are awaited."""

    _native, _other = AsyncOpenSearch, OpenSearch
    _instead = "RerankingOpenSearch"

    async def __aenter__(self) -> AsyncRerankingOpenSearch:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


for _client in (RerankingOpenSearch, AsyncRerankingOpenSearch):
    _client.__doc__ = f"{_client.__doc__}\n\n{_Reranking.__doc__}"


@cache
def _warn_once(method: str) -> None:
    log.warning(
        "%s is not reranked: %s; call search with the body (said once)",
        method,
        request_reader.TEMPLATES[method],
    )
