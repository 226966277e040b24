"""Components for LangChain: a document compressor, a retriever and embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from vecdb_rerank._checks import check_names, check_type
from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import (
    FoundDocument,
    PayloadShape,
    SearchableConnector,
    Searcher,
    check_connector,
    check_documents,
    check_top,
    payload_of,
    score_metadata,
)
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder
from vecdb_rerank.search.arguments import (
    AnyPolicy,
    Embedders,
    Rerankers,
    make_policy,
    require_embedder,
)
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

__all__ = ["VecdbRerankCompressor", "VecdbRerankEmbeddings", "VecdbRerankRetriever"]

_CONTENT = "page_content"


class VecdbRerankCompressor(BaseDocumentCompressor):
    """Reranks the documents of any retriever and keeps the best.

    ::

        retriever = ContextualCompressionRetriever(
            base_compressor=VecdbRerankCompressor(top_n=5),
            base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),
        )

    Args:
        reranker: ``"bundled"``, a reranker, or a sequence of rerankers: if one fails, the next
            one is called.
        top_n: The number of documents returned; None returns all.
        policy: The rules of reranking, such as its deadline.
        text_fields: The fields that the reranker reads, of the metadata and ``page_content``.
            ``TextFields(fields=("title", "page_content"))`` puts a title before the content.
        instruction: What counts as relevant, such as ``prefer official documentation``, for
            rerankers that follow instructions (default: the reranker's).

    The documents returned are copies. Their metadata has the additional keys ``relevance_score``,
    ``rerank_score`` and ``first_pass_rank``, and ``first_pass_score`` if there is a ``score``.
    Documents without text follow the others. If the reranker fails, the first ``top_n`` documents
    are returned in their order.

    Raises `ConfigurationError` if ``reranker`` cannot be used, and `RerankError` only under
    ``on_error="raise"``.

    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: object = "bundled"
    top_n: int | None = Field(default=5, ge=1)
    policy: Policy | None = None
    text_fields: TextFields = TextFields(fields=(_CONTENT,))
    instruction: str | None = None
    _reorder: ListReranker = PrivateAttr()

    def __init__(
        self,
        reranker: Rerankers = "bundled",
        top_n: int | None = 5,
        policy: AnyPolicy | None = None,
        text_fields: TextFields | None = None,
        instruction: str | None = None,
    ) -> None:
        """See the class."""
        check_type("text_fields", text_fields, TextFields)
        top_n = check_top("top_n", top_n)
        rules = None if policy is None else make_policy(policy)
        text_fields = text_fields or TextFields(fields=(_CONTENT,))
        reorder = ListReranker("langchain", reranker, rules, instruction)
        super().__init__(
            reranker=reranker,
            top_n=top_n,
            policy=rules,
            text_fields=text_fields,
            instruction=instruction,
        )
        self._reorder = reorder

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002 - there is nothing to call back for
        *,
        top_n: int | None = None,
        policy: AnyPolicy | None = None,
        instruction: str | None = None,
    ) -> Sequence[Document]:
        """Return the best documents for ``query``, best first.

        ``top_n``, ``policy`` and ``instruction`` replace those of the compressor for this call.
        """
        places = run(self._steps(documents, query, top_n, policy, instruction))
        return [_placed(documents[place.position], place) for place in places]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002 - as above
        *,
        top_n: int | None = None,
        policy: AnyPolicy | None = None,
        instruction: str | None = None,
    ) -> Sequence[Document]:
        """Do the same as `compress_documents` without blocking the event loop."""
        places = await run_async(self._steps(documents, query, top_n, policy, instruction))
        return [_placed(documents[place.position], place) for place in places]

    def _steps(
        self,
        documents: Sequence[Document],
        query: str,
        top_n: int | None,
        policy: AnyPolicy | None,
        instruction: str | None,
    ) -> Flow[list[Place]]:
        top_n = check_top("top_n", top_n)
        check_documents("documents", documents, Document)
        rules = None if policy is None else make_policy(policy)
        texts = [self.text_fields.text({**d.metadata, _CONTENT: d.page_content}) for d in documents]
        scores = [document.metadata.get("score") for document in documents]
        held = [payload_of(document.metadata, document.id) for document in documents]
        limit = top_n or self.top_n
        return self._reorder.steps(query, texts, scores, limit, rules, held, instruction)


class VecdbRerankRetriever(BaseRetriever):
    """Searches a connector: first pass and reranking in one retriever.

    Args:
        connector: A synchronous or an asynchronous connector. ``ainvoke`` searches a synchronous
            one in a thread.
        async_connector: An asynchronous connector for ``ainvoke``, beside a synchronous one.
        k: The number of first-pass candidates (default: the connector's).
        limit: The number of documents returned (default: the connector's).
        filter: A filter in the form of the database's client.
        rerank: Whether to rerank, or the `Policy` to rerank under (default: the connector's).
        instruction: What counts as relevant, for rerankers that follow instructions (default: the
            connector's).
        search_kwargs: Other arguments of the connector's ``search``, such as ``mode``.
        content_field: The stored field that becomes ``page_content`` (default: the text that the
            connector's `TextFields` read). In LangChain's own collections: ``"page_content"``.
        metadata_field: The stored field that holds the metadata (default: the whole payload).

    All arguments of ``search`` can also be given to ``invoke``, where they replace these. The
    metadata has the additional keys ``relevance_score``, ``rerank_score``, ``first_pass_rank`` and
    ``first_pass_score``. Raises what the connector's ``search`` raises.

    """

    connector: SearchableConnector
    async_connector: SearchableConnector | None = None
    k: int | None = None
    limit: int | None = None
    filter: object = None
    rerank: bool | Policy | dict[str, object] = True
    instruction: str | None = None
    search_kwargs: dict[str, object] = Field(default_factory=dict)
    content_field: str | None = None
    metadata_field: str | None = None

    def __init__(self, **fields: Any) -> None:
        for name in ("connector", "async_connector"):
            if fields.get(name) is not None or name == "connector":
                check_connector(name, fields.get(name))
        check_names(fields, type(self).model_fields)
        for name in fields.keys() & {"k", "limit"}:  # pydantic reads a text as a number
            fields[name] = check_top(name, fields[name])
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first, *_ = error.errors()
            raise ConfigurationError(str(first["loc"][0]), first["msg"]) from error

    @classmethod
    def from_settings(
        cls,
        file: Path | str | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        use_async: bool = False,
        **fields: Any,
    ) -> VecdbRerankRetriever:
        """Return a retriever over the connector of a settings file.

        ``settings`` are nested mappings, such as ``{"backend": {"type": "opensearch"}}``; see
        `connect` and (for ``use_async``) `connect_async`. ``fields`` are those of the retriever.
        The caller must close its ``connector``.
        """
        opened = (connect_async if use_async else connect)(file, **(settings or {}))
        return cls(connector=opened, **fields)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain gives it
        **search: object,
    ) -> list[Document]:
        found = self._searcher().search(query, **self._options(search))
        return [_document(document) for document in found]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain gives it
        **search: object,
    ) -> list[Document]:
        found = await self._searcher().asearch(query, **self._options(search))
        return [_document(document) for document in found]

    def _searcher(self) -> Searcher:
        shape = PayloadShape(self.content_field, self.metadata_field)
        return Searcher(self.connector, self.async_connector, shape)

    def _options(self, search: Mapping[str, object]) -> dict[str, object]:
        names = ("k", "limit", "filter", "rerank", "instruction")
        own = {name: getattr(self, name) for name in names}
        return {**own, **self.search_kwargs, **search}


class VecdbRerankEmbeddings(Embeddings):
    """Embeds with an embedder of this package, by default the bundled one (384 dimensions)."""

    def __init__(self, embedder: Embedders = "bundled") -> None:
        self.embedder: Embedder = require_embedder(embedder)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of documents, shape (len(texts), dimension)."""
        return [[float(x) for x in vector] for vector in self.embedder.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, shape (dimension,)."""
        return [float(x) for x in self.embedder.embed_query(text)]


def _placed(document: Document, place: Place) -> Document:
    scores = score_metadata(
        relevance=place.relevance,
        score=place.score,
        rank=place.position + 1,
        first_pass_score=document.metadata.get("score"),
    )
    return document.model_copy(update={"metadata": {**document.metadata, **scores}})


def _document(found: FoundDocument) -> Document:
    metadata = {**found.metadata, **found.scores}
    return Document(id=found.id, page_content=found.text, metadata=metadata)
