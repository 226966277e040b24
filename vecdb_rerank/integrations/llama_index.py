"""Components for LlamaIndex: a node postprocessor, a retriever and an embedding model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vecdb_rerank._checks import check_type
from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import (
    SCORE_KEYS,
    FoundDocument,
    PayloadShape,
    Scored,
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
    Rerank,
    Rerankers,
    make_policy,
    require_embedder,
)
from vecdb_rerank.search.rerank_list import ListReranker, Place

with importing("llama_index", extra="llama-index"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # imported there
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import (
        BaseNode,
        MetadataMode,
        NodeWithScore,
        QueryBundle,
        TextNode,
    )

__all__ = ["VecdbRerankEmbedding", "VecdbRerankPostprocessor", "VecdbRerankRetriever"]

dispatcher = get_dispatcher(__name__)


class VecdbRerankPostprocessor(BaseNodePostprocessor):
    """Reranks the nodes of any retriever and keeps the best.

    ::

        index.as_query_engine(
            similarity_top_k=50, node_postprocessors=[VecdbRerankPostprocessor(top_n=5)]
        )

    Args:
        reranker: ``"bundled"``, a reranker, or a sequence of rerankers: if one fails, the next
            one is called.
        top_n: The number of nodes returned; None returns all.
        metadata_mode: The metadata that the reranker reads with the text. ``EMBED``, the mode of
            LlamaIndex's own rerankers, leaves out ``excluded_embed_metadata_keys``.
        keep_scores: Whether to add ``relevance_score``, ``rerank_score``, ``first_pass_rank`` and
            ``first_pass_score`` to the metadata, hidden from LLMs and embedding models.
        policy: The rules of reranking, such as its deadline.
        instruction: What counts as relevant, such as ``prefer official documentation``, for
            rerankers that follow instructions (default: the reranker's).

    The nodes returned are copies with the final score. Nodes without text follow the others. If the
    reranker fails, the first ``top_n`` nodes are returned with their own scores and order.

    Raises `ConfigurationError` if ``reranker`` cannot be used, and `RerankError` only under
    ``on_error="raise"``.

    """

    reranker: object = Field(default="bundled", exclude=True)
    top_n: int | None = Field(default=5, ge=1)
    metadata_mode: MetadataMode = MetadataMode.EMBED
    keep_scores: bool = True
    policy: Policy | None = Field(default=None, exclude=True)
    instruction: str | None = None
    _reorder: ListReranker = PrivateAttr()

    def __init__(
        self,
        reranker: Rerankers = "bundled",
        top_n: int | None = 5,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        keep_scores: bool = True,
        policy: AnyPolicy | None = None,
        instruction: str | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """See the class."""
        rules = None if policy is None else make_policy(policy)
        reorder = ListReranker("llama_index", reranker, rules, instruction)
        super().__init__(
            reranker=reranker,
            top_n=check_top("top_n", top_n),
            metadata_mode=metadata_mode,
            keep_scores=keep_scores,
            policy=rules,
            instruction=instruction,
            callback_manager=callback_manager or CallbackManager(),
        )
        self._reorder = reorder

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises the class under."""
        return "VecdbRerankPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        with self._reranking(nodes, query) as reranked:
            places = run(self._steps(query, nodes))
            reranked.extend(self._placed(nodes[place.position], place) for place in places)
        return reranked

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        with self._reranking(nodes, query) as reranked:
            places = await run_async(self._steps(query, nodes))
            reranked.extend(self._placed(nodes[place.position], place) for place in places)
        return reranked

    @contextmanager
    def _reranking(self, nodes: list[NodeWithScore], query: str) -> Iterator[list[NodeWithScore]]:
        """Report the nodes that the block adds to the list to callbacks and instrumentation."""
        check_documents("nodes", nodes, NodeWithScore)
        name = self._reorder.chain.name if self._reorder.chain else "none"
        top_n = len(nodes) if self.top_n is None else self.top_n
        reranked: list[NodeWithScore] = []
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name))
        payload: dict[str, object] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield reranked
            event.on_end(payload={EventPayload.NODES: reranked})
        dispatcher.event(ReRankEndEvent(nodes=reranked))

    def _steps(self, query: str, nodes: Sequence[NodeWithScore]) -> Flow[list[Place]]:
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        held = [payload_of(node.node.metadata, node.node.node_id) for node in nodes]
        scores = [node.score for node in nodes]
        return self._reorder.steps(query, texts, scores, self.top_n, payloads=held)

    def _placed(self, node: NodeWithScore, place: Place) -> NodeWithScore:
        score = node.score if place.score is None else place.score
        if not self.keep_scores:
            return NodeWithScore(node=node.node, score=score)
        scores = score_metadata(
            relevance=place.relevance,
            score=place.score,
            rank=place.position + 1,
            first_pass_score=node.score,
        )
        return NodeWithScore(node=_with_scores(node.node, scores), score=score)


class VecdbRerankRetriever(BaseRetriever):
    """Searches a connector: first pass and reranking in one retriever.

    Args:
        connector: A synchronous or an asynchronous connector. ``aretrieve`` searches a synchronous
            one in a thread.
        async_connector: An asynchronous connector for ``aretrieve``, beside a synchronous one.
        k: The number of first-pass candidates (default: the connector's).
        limit: The number of nodes returned (default: the connector's).
        filter: A filter in the form of the database's client.
        rerank: Whether to rerank, or the `Policy` to rerank under (default: the connector's).
        instruction: What counts as relevant, for rerankers that follow instructions (default: the
            connector's).
        search_kwargs: Other arguments of the connector's ``search``, such as ``mode``.
        content_field: The stored field that becomes the node's text (default: the text that the
            connector's `TextFields` read).
        metadata_field: The stored field that holds the metadata (default: the whole payload).
        keep_scores: Whether to add the scores to the metadata, as the postprocessor does. A fusion
            of several queries then takes the same node for different ones.

    `observe` gives the scores of each hit. Raises what the connector's ``search`` raises.

    """

    def __init__(
        self,
        connector: SearchableConnector,
        async_connector: SearchableConnector | None = None,
        *,
        k: int | None = None,
        limit: int | None = None,
        filter: object = None,
        rerank: Rerank = True,
        instruction: str | None = None,
        search_kwargs: Mapping[str, object] | None = None,
        content_field: str | None = None,
        metadata_field: str | None = None,
        keep_scores: bool = False,
        callback_manager: CallbackManager | None = None,
        **options: Any,
    ) -> None:
        """See the class; ``options`` are those of LlamaIndex's `BaseRetriever`."""
        check_connector("connector", connector)
        check_type("search_kwargs", search_kwargs, Mapping)
        super().__init__(callback_manager=callback_manager, **options)
        self.connector = connector
        shape = PayloadShape(content_field, metadata_field)
        self._searcher = Searcher(connector, async_connector, shape)
        self._search_options = {
            "k": k,
            "limit": limit,
            "filter": filter,
            "rerank": rerank,
            "instruction": instruction,
            **(search_kwargs or {}),
        }
        self._keep_scores = keep_scores
        # A model must not see the text a second time, as metadata.
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
        """Return a retriever over the connector of a settings file.

        ``settings`` are nested mappings, such as ``{"backend": {"type": "opensearch"}}``; see
        `connect` and (for ``use_async``) `connect_async`. ``options`` are those of the retriever.
        The caller must close its ``connector``.
        """
        opened = (connect_async if use_async else connect)(file, **(settings or {}))
        return cls(opened, **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._searcher.search(query_bundle.query_str, **self._search_options)
        return [self._node(document) for document in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._searcher.asearch(query_bundle.query_str, **self._search_options)
        return [self._node(document) for document in found]

    def _node(self, found: FoundDocument) -> NodeWithScore:
        hidden = [path for path in self._hidden if path in found.metadata]
        node = TextNode(
            id_=found.id,
            text=found.text,
            metadata=dict(found.metadata),
            excluded_llm_metadata_keys=hidden,
            excluded_embed_metadata_keys=hidden,
        )
        shown = _with_scores(node, found.scores) if self._keep_scores else node
        return NodeWithScore(node=shown, score=found.score)


class VecdbRerankEmbedding(BaseEmbedding):
    """Embeds with an embedder of this package, by default the bundled one (384 dimensions)."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedders = "bundled", **options: Any) -> None:
        """See the class; ``options`` are those of LlamaIndex's `BaseEmbedding`."""
        chosen = require_embedder(embedder)
        options.setdefault("model_name", str(getattr(chosen, "name", type(chosen).__name__)))
        super().__init__(**options)
        self._embedder = chosen

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises the class under."""
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
        raise ConfigurationError("query_bundle", "must be given: nodes are reranked for a query")
    return query_bundle.query_str


def _with_scores(node: BaseNode, scores: Scored) -> BaseNode:
    """Return a copy of a node with scores in its metadata, hidden from models."""
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **scores},
            "excluded_llm_metadata_keys": _with(node.excluded_llm_metadata_keys, SCORE_KEYS),
            "excluded_embed_metadata_keys": _with(node.excluded_embed_metadata_keys, SCORE_KEYS),
        }
    )


def _with(keys: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*keys, *more)))
