"""LangChain: `VecdbRerankCompressor`, `VecdbRerankRetriever`, `VecdbRerankEmbeddings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, PrivateAttr

from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import Found, Searcher, Shape, marks
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder
from vecdb_rerank.search.connector import Bundled, Connector, Rerankers, make_embedder
from vecdb_rerank.search.rerank_list import ListReranker, Place
from vecdb_rerank.text_fields import TextFields

with importing("langchain_core", extra="langchain"):
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever

_CONTENT = "page_content"


class VecdbRerankCompressor(BaseDocumentCompressor):
    """Reorders the documents of any retriever by how well they answer, and keeps the first.

    ::

        retriever = ContextualCompressionRetriever(
            base_compressor=VecdbRerankCompressor(top_n=5),
            base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),
        )

    Args:
        reranker: ``"bundled"``, any reranker, or a sequence of them: a chain, in which the next
            one is asked where one fails.
        top_n: documents returned; None for all.
        policy: deadline, what a failure does, minimum relevance, blending.
        documents: what the reranker reads, of metadata and ``page_content``: by default the
            content; ``TextFields(fields=("title", "page_content"))`` puts a title before it.

    The documents that come out are copies: id and content are as they came, metadata has
    ``relevance_score``, ``rerank_score`` and ``first_pass_rank`` besides, and
    ``first_pass_score`` where it held a ``score``. When the reranker fails, the first ``top_n``
    come in the order given. Raises `RerankError` under ``on_error="raise"`` alone.

    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: Any = "bundled"
    top_n: int | None = Field(default=5, ge=1)
    policy: Policy | None = None
    text_fields: TextFields = TextFields(fields=(_CONTENT,))
    _reorder: ListReranker = PrivateAttr()

    def __init__(
        self,
        reranker: Rerankers = "bundled",
        top_n: int | None = 5,
        policy: Policy | None = None,
        text_fields: TextFields | None = None,
    ) -> None:
        """See the class; `ConfigurationError` where ``reranker`` is none."""
        text_fields = text_fields or TextFields(fields=(_CONTENT,))
        super().__init__(reranker=reranker, top_n=top_n, policy=policy, text_fields=text_fields)
        self._reorder = ListReranker("langchain", reranker, policy)

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002 - there is nothing to call back for
    ) -> Sequence[Document]:
        """The best ``top_n`` of ``documents`` for ``query``, as copies, best first."""
        places = run(self._steps(documents, query))
        return [_placed(documents[place.position], place) for place in places]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002 - as above
    ) -> Sequence[Document]:
        """`compress_documents` without blocking the event loop."""
        places = await run_async(self._steps(documents, query))
        return [_placed(documents[place.position], place) for place in places]

    def _steps(self, documents: Sequence[Document], query: str) -> Flow[list[Place]]:
        texts = [self.text_fields.text({**d.metadata, _CONTENT: d.page_content}) for d in documents]
        scores = [document.metadata.get("score") for document in documents]
        return self._reorder.steps(query, texts, scores, self.top_n)


class VecdbRerankRetriever(BaseRetriever):
    """Hybrid first pass and rerank in one retriever, over a connector.

    Args:
        connector: a connector of either colour; a synchronous one serves ``ainvoke`` in a thread.
        async_connector: an asynchronous one for ``ainvoke``, beside a synchronous one.
        k: candidates of the first pass; default is the connector's.
        limit: documents returned; default is the connector's.
        filter: a filter in the database's own terms.
        search_kwargs: more arguments of the connector's ``search``, such as ``mode``.
        content_field: the stored field that becomes ``page_content``; by default the text that
            the connector's `TextFields` read. ``"page_content"`` for LangChain's own collections.
        metadata_field: the stored field that holds the metadata; by default the whole document.

    ``k``, ``limit``, ``filter`` and all that ``search`` takes can also be given to ``invoke``.
    Metadata has ``relevance_score``, ``rerank_score``, ``first_pass_rank`` and
    ``first_pass_score`` besides. Raises what the connector's ``search`` raises.

    """

    connector: Connector[Any, Any, Any, Any, Any]
    async_connector: Connector[Any, Any, Any, Any, Any] | None = None
    k: int | None = None
    limit: int | None = None
    filter: Any = None
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    content_field: str | None = None
    metadata_field: str | None = None

    @classmethod
    def from_settings(
        cls,
        file: Path | str | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        use_async: bool = False,
        **fields: Any,
    ) -> VecdbRerankRetriever:
        """A retriever over `connect` (``use_async``: `connect_async`) with this file and settings.

        ``settings`` are nested mappings such as ``{"backend": {"type": "opensearch"}}``,
        ``fields`` those of the retriever. Its ``connector`` is yours to close.
        """
        opened = (connect_async if use_async else connect)(file, **(settings or {}))
        return cls(connector=opened, **fields)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain gives it
        **search: Any,
    ) -> list[Document]:
        return [_document(hit) for hit in self._searcher().search(query, **self._given(search))]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain gives it
        **search: Any,
    ) -> list[Document]:
        found = await self._searcher().asearch(query, **self._given(search))
        return [_document(hit) for hit in found]

    def _searcher(self) -> Searcher:
        shape = Shape(self.content_field, self.metadata_field)
        return Searcher(self.connector, self.async_connector, shape)

    def _given(self, search: Mapping[str, Any]) -> dict[str, Any]:
        own = {"k": self.k, "limit": self.limit, "filter": self.filter}
        return {**own, **self.search_kwargs, **search}


class VecdbRerankEmbeddings(Embeddings):
    """Any of our embedders, by default the bundled one (384 wide, offline), for vector stores."""

    def __init__(self, embedder: Embedder | Bundled = "bundled") -> None:
        self.embedder = make_embedder(embedder)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of documents, shape (len(texts), dimension)."""
        return [[float(x) for x in vector] for vector in self.embedder.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, shape (dimension,)."""
        return [float(x) for x in self.embedder.embed_query(text)]


def _placed(document: Document, place: Place) -> Document:
    told = marks(
        relevance=place.relevance,
        score=place.score,
        rank=place.position + 1,
        first_pass_score=document.metadata.get("score"),
    )
    return document.model_copy(update={"metadata": {**document.metadata, **told}})


def _document(hit: Found) -> Document:
    return Document(id=hit.id, page_content=hit.text, metadata={**hit.metadata, **hit.marks})
