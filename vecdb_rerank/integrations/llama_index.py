"""LlamaIndex: `VecdbRerankPostprocessor`, `VecdbRerankRetriever`, `VecdbRerankEmbedding`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import MARKS, AnyConnector, Found, Searcher, Shape, marks
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder
from vecdb_rerank.search.connector import Bundled, Rerankers, make_embedder
from vecdb_rerank.search.rerank_list import ListReranker, Place

with importing("llama_index", extra="llama-index"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # imported there
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

dispatcher = get_dispatcher(__name__)


class VecdbRerankPostprocessor(BaseNodePostprocessor):
    """Reorders the nodes of any retriever by how well they answer, and keeps the first.

    ::

        index.as_query_engine(
            similarity_top_k=50, node_postprocessors=[VecdbRerankPostprocessor(top_n=5)]
        )

    Args:
        reranker: ``"bundled"``, any reranker, or a sequence of them: a chain, in which the next
            one is asked where one fails.
        top_n: nodes returned; None for all.
        metadata_mode: which metadata the reranker reads with the text; ``EMBED``, as
            LlamaIndex's own rerankers do, leaves out a node's ``excluded_embed_metadata_keys``.
        keep_scores: put ``relevance_score``, ``rerank_score``, ``first_pass_rank`` and
            ``first_pass_score`` into the nodes' metadata, where neither an LLM nor an embedding
            model is shown them.
        policy: deadline, what a failure does, minimum relevance, blending.

    The nodes that come out are copies with the final score. When the reranker fails, the first
    ``top_n`` come in the order and with the scores given. Raises `RerankError` under
    ``on_error="raise"`` alone.

    """

    reranker: Any = Field(default="bundled", exclude=True)
    top_n: int | None = Field(default=5, ge=1)
    metadata_mode: MetadataMode = MetadataMode.EMBED
    keep_scores: bool = True
    policy: Policy | None = Field(default=None, exclude=True)
    _reorder: ListReranker = PrivateAttr()

    def __init__(
        self,
        reranker: Rerankers = "bundled",
        top_n: int | None = 5,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        keep_scores: bool = True,
        policy: Policy | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """See the class; `ConfigurationError` where ``reranker`` is none."""
        super().__init__(
            reranker=reranker,
            top_n=top_n,
            metadata_mode=metadata_mode,
            keep_scores=keep_scores,
            policy=policy,
            callback_manager=callback_manager or CallbackManager(),
        )
        self._reorder = ListReranker("llama_index", reranker, policy)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "VecdbRerankPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        with self._reranking(nodes, query) as told:
            places = run(self._steps(query, nodes))
            told.extend(self._placed(nodes[place.position], place) for place in places)
        return told

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        with self._reranking(nodes, query) as told:
            places = await run_async(self._steps(query, nodes))
            told.extend(self._placed(nodes[place.position], place) for place in places)
        return told

    @contextmanager
    def _reranking(self, nodes: list[NodeWithScore], query: str) -> Iterator[list[NodeWithScore]]:
        """The block's nodes, told to LlamaIndex's callbacks and instrumentation."""
        name = self._reorder.chain.name if self._reorder.chain else "none"
        top_n = len(nodes) if self.top_n is None else self.top_n
        placed: list[NodeWithScore] = []
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield placed
            event.on_end(payload={EventPayload.NODES: placed})
        dispatcher.event(ReRankEndEvent(nodes=placed))

    def _steps(self, query: str, nodes: Sequence[NodeWithScore]) -> Flow[list[Place]]:
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        return self._reorder.steps(query, texts, [node.score for node in nodes], self.top_n)

    def _placed(self, node: NodeWithScore, place: Place) -> NodeWithScore:
        score = node.score if place.score is None else place.score
        if not self.keep_scores:
            return NodeWithScore(node=node.node, score=score)
        told = marks(
            relevance=place.relevance,
            score=place.score,
            rank=place.position + 1,
            first_pass_score=node.score,
        )
        return NodeWithScore(node=_told(node.node, told), score=score)


class VecdbRerankRetriever(BaseRetriever):
    """Hybrid first pass and rerank in one retriever, over a connector.

    Args:
        connector: a connector of either colour; a synchronous one serves ``aretrieve`` in a
            thread.
        async_connector: an asynchronous one for ``aretrieve``, beside a synchronous one.
        k: candidates of the first pass; default is the connector's.
        limit: nodes returned; default is the connector's.
        filter: a filter in the database's own terms.
        search_kwargs: more arguments of the connector's ``search``, such as ``mode``.
        content_field: the stored field that becomes the node's text; by default the text that
            the connector's `TextFields` read.
        metadata_field: the stored field that holds the metadata; by default the whole document.
        keep_scores: put the scores into the nodes' metadata, as the postprocessor does. A
            fusion of several queries then no longer sees that two nodes are one.

    What became of each hit is in `observe`. Raises what the connector's ``search`` raises.

    """

    def __init__(
        self,
        connector: AnyConnector,
        async_connector: AnyConnector | None = None,
        *,
        k: int | None = None,
        limit: int | None = None,
        filter: Any = None,
        search_kwargs: Mapping[str, Any] | None = None,
        content_field: str | None = None,
        metadata_field: str | None = None,
        keep_scores: bool = False,
        callback_manager: CallbackManager | None = None,
        **options: Any,
    ) -> None:
        """See the class; ``options`` are those of LlamaIndex's retrievers."""
        super().__init__(callback_manager=callback_manager, **options)
        self.connector = connector
        shape = Shape(content_field, metadata_field)
        self._searcher = Searcher(connector, async_connector, shape)
        self._arguments = {"k": k, "limit": limit, "filter": filter, **(search_kwargs or {})}
        self._keep_scores = keep_scores
        # What is the text already is not shown to a model again.
        paths = (content_field,) if content_field else connector.pipeline.text_fields.paths
        self._hidden = [path for path in paths if path]

    @classmethod
    def from_settings(
        cls,
        file: Path | str | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        use_async: bool = False,
        **options: Any,
    ) -> VecdbRerankRetriever:
        """A retriever over `connect` (``use_async``: `connect_async`) with this file and settings.

        ``settings`` are nested mappings such as ``{"backend": {"type": "opensearch"}}``,
        ``options`` those of the retriever. Its ``connector`` is yours to close.
        """
        opened = (connect_async if use_async else connect)(file, **(settings or {}))
        return cls(opened, **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._searcher.search(query_bundle.query_str, **self._arguments)
        return [self._node(hit) for hit in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._searcher.asearch(query_bundle.query_str, **self._arguments)
        return [self._node(hit) for hit in found]

    def _node(self, hit: Found) -> NodeWithScore:
        hidden = [path for path in self._hidden if path in hit.metadata]
        node = TextNode(
            id_=hit.id,
            text=hit.text,
            metadata=dict(hit.metadata),
            excluded_llm_metadata_keys=hidden,
            excluded_embed_metadata_keys=hidden,
        )
        told = _told(node, hit.marks) if self._keep_scores else node
        return NodeWithScore(node=told, score=hit.score)


class VecdbRerankEmbedding(BaseEmbedding):
    """Any of our embedders, by default the bundled one (384 wide, offline), for indices."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder | Bundled = "bundled", **options: Any) -> None:
        """``options`` are those of LlamaIndex's embedding models."""
        chosen = make_embedder(embedder)
        options.setdefault("model_name", str(getattr(chosen, "name", type(chosen).__name__)))
        super().__init__(**options)
        self._embedder = chosen

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "VecdbRerankEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(x) for x in self._embedder.embed_query(query)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in vector] for vector in self._embedder.embed_documents(texts)]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise ConfigurationError("query_bundle", "the nodes are reranked for a query; give one")
    return query_bundle.query_str


def _told(node: Any, told: Mapping[str, Any]) -> Any:
    """A copy of a node with what is told of it in its metadata, hidden from models."""
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **told},
            "excluded_llm_metadata_keys": _with(node.excluded_llm_metadata_keys, MARKS),
            "excluded_embed_metadata_keys": _with(node.excluded_embed_metadata_keys, MARKS),
        }
    )


def _with(keys: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*keys, *more)))
