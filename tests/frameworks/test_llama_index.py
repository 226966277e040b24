"""LlamaIndex: the query engine, scores on the right nodes, metadata modes, a drop-in store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.vector_stores.opensearch import OpensearchVectorClient, OpensearchVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.frameworks.conftest import Blocking
from vecdb_rerank import (
    Blend,
    ConfigurationError,
    Deadline,
    OnnxEmbedder,
    OnnxReranker,
    Policy,
    RerankError,
    Scores,
    TextFields,
    observe,
    rerank_query,
)
from vecdb_rerank.integrations.llama_index import (
    VecdbRerankEmbedding,
    VecdbRerankPostprocessor,
    VecdbRerankRetriever,
)
from vecdb_rerank.testing.corpus import CORPUS, QUERIES
from vecdb_rerank.testing.doubles import (
    HashEmbedder,
    KeepingReranker,
    RaisingReranker,
    ReversingReranker,
)
from vecdb_rerank_opensearch import OpenSearchConnector
from vecdb_rerank_qdrant import (
    AsyncQdrantConnector,
    QdrantConnector,
    RerankingQdrantClient,
)

# LlamaIndex makes one, which only a server uses.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

REPLACE = Policy(blend=Blend("replace"))
MARKS = ["relevance_score", "rerank_score", "first_pass_rank", "first_pass_score"]


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(
            node=TextNode(id_=f"n{n}", text=f"text {n}", metadata={"page": n}), score=0.9 - n / 10
        )
        for n in range(5)
    ]


def node_id(name: str) -> str:
    """An id that Qdrant takes."""
    return str(uuid5(NAMESPACE_URL, name))


def first_of(subject: str) -> str:
    return str(next(d["text"] for d in CORPUS if d["subject"] == subject))


# -- the query engine


@pytest.fixture(scope="module", params=["qdrant", "opensearch"])
def filled(request: pytest.FixtureRequest, embedder: OnnxEmbedder) -> Iterator[VectorStoreIndex]:
    """An index over a vector store of LlamaIndex's own, filled by LlamaIndex."""
    store: Any
    if request.param == "qdrant":
        store = QdrantVectorStore("llama", client=QdrantClient(":memory:"))
    else:
        client = OpensearchVectorClient(
            request.getfixturevalue("opensearch_url"),
            f"{request.getfixturevalue('index')}-llama",
            embedder.dimension,
            engine="lucene",
        )
        store = OpensearchVectorStore(client)
    yield VectorStoreIndex(
        [
            TextNode(
                id_=node_id(str(d["id"])), text=str(d["text"]), metadata={"subject": d["subject"]}
            )
            for d in CORPUS
        ],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=VecdbRerankEmbedding(embedder),
    )
    if request.param == "opensearch":
        client.close()


def test_the_query_engine_example(filled: VectorStoreIndex, reranker: OnnxReranker) -> None:
    rerank = VecdbRerankPostprocessor(reranker, top_n=5)
    engine = filled.as_query_engine(
        llm=MockLLM(), similarity_top_k=50, node_postprocessors=[rerank]
    )
    with observe() as outcomes:
        response = engine.query(QUERIES["tax"])
    assert [(o.status, o.backend, o.seen) for o in outcomes] == [("reranked", "llama_index", 40)]
    found = response.source_nodes
    assert found[0].node_id == node_id("tax-0")
    assert found[0].text == first_of("tax")
    scores = [node.score or 0.0 for node in found]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    # MockLLM answers with its prompt: the model saw the best node, and none of our scores.
    assert first_of("tax") in str(response)
    assert not any(mark in str(response) for mark in MARKS)


@pytest.mark.parametrize("backend", ["qdrant", "opensearch"])
async def test_the_query_engine_asynchronously(
    backend: str, request: pytest.FixtureRequest, embedder: OnnxEmbedder, reranker: OnnxReranker
) -> None:
    store: Any
    async with AsyncExitStack() as stack:
        if backend == "qdrant":
            client = AsyncQdrantClient(":memory:")
            stack.push_async_callback(client.close)
            store = QdrantVectorStore("llama", aclient=client)
        else:
            vectors = OpensearchVectorClient(
                request.getfixturevalue("opensearch_url"),
                f"{request.getfixturevalue('index')}-llama-async",
                embedder.dimension,
                engine="lucene",
            )
            stack.push_async_callback(vectors.aclose)
            store = OpensearchVectorStore(vectors)
        index = VectorStoreIndex(
            nodes=[],
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=VecdbRerankEmbedding(embedder),
            use_async=True,
        )
        await index.ainsert_nodes(
            [TextNode(id_=node_id(d["id"]), text=d["text"]) for d in CORPUS[:10]]
        )
        engine = index.as_query_engine(
            llm=MockLLM(),
            similarity_top_k=10,
            node_postprocessors=[VecdbRerankPostprocessor(reranker, top_n=2)],
        )
        response = await engine.aquery(QUERIES["sailing"])
    assert [len(response.source_nodes), response.source_nodes[0].node_id] == [
        2,
        node_id("sailing-0"),
    ]


def test_the_documented_drop_in_recipe_is_as_good_as_the_plain_text(
    embedder: OnnxEmbedder, reranker: OnnxReranker
) -> None:
    client = RerankingQdrantClient(
        QdrantClient(":memory:"),
        reranker=reranker,
        text_fields=TextFields(("_node_content.text",)),
        policy=REPLACE,
    )
    index = VectorStoreIndex(
        [TextNode(id_=node_id(str(d["id"])), text=str(d["text"])) for d in CORPUS],
        storage_context=StorageContext.from_defaults(
            vector_store=QdrantVectorStore("llama", client=client)
        ),
        embed_model=VecdbRerankEmbedding(embedder),
    )
    retriever = index.as_retriever(similarity_top_k=10)
    texts = {node_id(str(d["id"])): str(d["text"]) for d in CORPUS}
    for subject, query in QUERIES.items():
        with observe() as outcomes, rerank_query(query):
            found = retriever.retrieve(query)
        assert found[0].node_id == node_id(f"{subject}-0")
        # The very scores of the text: the reranker reads nothing else of a node.
        [outcome] = outcomes
        plain = reranker.score(query, [texts[node.node_id] for node in found], deadline=Deadline())
        raw = [outcome.raw[node.node_id] for node in found]
        assert raw == pytest.approx(list(plain.raw), abs=1e-4)
    client.close()


# -- the postprocessor


def test_nodes_are_copied_and_each_has_its_own_score() -> None:
    given, before = nodes(), nodes()
    placed = VecdbRerankPostprocessor(
        ReversingReranker(), top_n=3, policy=REPLACE
    ).postprocess_nodes(given, query_str="query")
    assert given == before
    assert [node.node_id for node in placed] == ["n4", "n3", "n2"]
    assert [node.score for node in placed] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    for node in placed:
        n = int(node.node_id[1:])
        assert node.metadata == {
            "page": n,
            "relevance_score": node.score,
            "rerank_score": node.score,
            "first_pass_rank": n + 1,
            "first_pass_score": 0.9 - n / 10,
        }


def test_models_are_not_shown_the_scores() -> None:
    (node, *_) = VecdbRerankPostprocessor(KeepingReranker()).postprocess_nodes(
        nodes(), query_str="query"
    )
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert node.node.get_content(mode) == "page: 0\n\ntext 0"
    assert "first_pass_rank: 1" in node.node.get_content(MetadataMode.ALL)


def test_scores_can_be_kept_out_of_the_metadata() -> None:
    placed = VecdbRerankPostprocessor(
        ReversingReranker(), policy=REPLACE, keep_scores=False
    ).postprocess_nodes(nodes(), query_str="query")
    assert [node.metadata for node in placed] == [{"page": n} for n in (4, 3, 2, 1, 0)]
    assert placed[0].score == pytest.approx(5 / 6)


class Reads:
    """Remembers what it was given to read."""

    name = "reads"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def score(self, query: str, documents: Any, *, deadline: Any) -> Scores:
        self.texts += documents
        return Scores.from_relevance([0.5] * len(documents))


@pytest.mark.parametrize(
    ("mode", "read"),
    [
        (MetadataMode.NONE, "text"),
        (MetadataMode.EMBED, "title: t\nfor_embedding: e\n\ntext"),
        (MetadataMode.LLM, "title: t\nfor_llm: l\n\ntext"),
        (MetadataMode.ALL, "title: t\nfor_embedding: e\nfor_llm: l\n\ntext"),
    ],
)
def test_the_metadata_mode_says_what_is_read(mode: MetadataMode, read: str) -> None:
    node = TextNode(
        text="text",
        metadata={"title": "t", "for_embedding": "e", "for_llm": "l"},
        excluded_embed_metadata_keys=["for_llm"],
        excluded_llm_metadata_keys=["for_embedding"],
    )
    reranker = Reads()
    rerank = VecdbRerankPostprocessor(reranker, metadata_mode=mode)
    rerank.postprocess_nodes([NodeWithScore(node=node)], query_str="query")
    assert reranker.texts == [read]


def test_the_metadata_that_is_embedded_is_read_by_default() -> None:
    assert VecdbRerankPostprocessor(KeepingReranker()).metadata_mode is MetadataMode.EMBED


async def test_an_outage_keeps_order_and_scores() -> None:
    rerank = VecdbRerankPostprocessor(RaisingReranker(), top_n=2)
    for placed in (
        rerank.postprocess_nodes(nodes(), query_str="query"),
        await rerank.apostprocess_nodes(nodes(), query_str="query"),
    ):
        assert [(node.node_id, node.score) for node in placed] == [("n0", 0.9), ("n1", 0.8)]
        assert placed[0].metadata["rerank_score"] is None
    strict = VecdbRerankPostprocessor(RaisingReranker(), policy=Policy(on_error="raise"))
    with pytest.raises(RerankError, match="raising"):
        strict.postprocess_nodes(nodes(), query_str="query")


def test_nodes_without_scores_without_text_and_twice() -> None:
    twice = TextNode(id_="twice", text="same")
    given = [
        NodeWithScore(node=ImageNode(id_="image", image_url="http://x/y.png")),
        NodeWithScore(node=twice),
        NodeWithScore(node=twice),
    ]
    placed = VecdbRerankPostprocessor(KeepingReranker(), policy=REPLACE).postprocess_nodes(
        given, query_str="query"
    )
    assert [(node.node_id, node.metadata["first_pass_rank"]) for node in placed] == [
        ("twice", 2),
        ("twice", 3),
        ("image", 1),
    ]
    assert isinstance(placed[2].node, ImageNode)
    assert "first_pass_score" not in placed[0].metadata
    assert placed[2].metadata["rerank_score"] is None
    assert placed[2].score == 0.0
    assert VecdbRerankPostprocessor(KeepingReranker()).postprocess_nodes([], query_str="q") == []


async def test_the_event_loop_goes_on_while_nodes_are_scored(blocking: Blocking) -> None:
    rerank = VecdbRerankPostprocessor(blocking, policy=REPLACE)
    task = asyncio.ensure_future(rerank.apostprocess_nodes(nodes(), query_str="query"))
    await asyncio.sleep(0.01)
    blocking.go.set()
    assert [node.node_id for node in await task] == ["n4", "n3", "n2", "n1", "n0"]


def test_callbacks_hear_of_it() -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    rerank = VecdbRerankPostprocessor(
        KeepingReranker(), top_n=2, callback_manager=CallbackManager([handler])
    )
    rerank.postprocess_nodes(nodes(), query_str="query")
    ((start, end),) = handler.get_event_pairs(CBEventType.RERANKING)
    assert start.payload is not None
    assert start.payload["model_name"] == "keeping"
    assert end.payload is not None
    assert len(end.payload["nodes"]) == 2


def test_it_is_described_without_its_reranker() -> None:
    described = VecdbRerankPostprocessor(KeepingReranker(), top_n=3).to_dict()
    assert described["class_name"] == "VecdbRerankPostprocessor"
    assert described["top_n"] == 3
    assert "reranker" not in described


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="top_n"):
        VecdbRerankPostprocessor(KeepingReranker(), top_n=0)
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankPostprocessor(object())  # type: ignore[arg-type]
    assert caught.value.key == "reranker"
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankPostprocessor(KeepingReranker()).postprocess_nodes(nodes())
    assert caught.value.key == "query_bundle"


# -- the retriever


async def test_nodes_have_id_text_and_payload(connector: QdrantConnector) -> None:
    retriever = VecdbRerankRetriever(connector, k=30, limit=4)
    found = retriever.retrieve(QUERIES["sailing"])
    best, stored = found[0], CORPUS[5]
    assert (best.node_id, len(found)) == ("sailing-0", 4)
    assert best.text == f"{stored['title']}\n{stored['text']}"
    assert best.metadata == stored
    # A model reads title and text once.
    assert best.get_content(MetadataMode.LLM) == (
        f"id: sailing-0\nsubject: sailing\nnumber: 0\n\n{best.text}"
    )
    scores = [node.score or 0.0 for node in found]
    assert scores == sorted(scores, reverse=True)
    assert await retriever.aretrieve(QueryBundle(QUERIES["sailing"])) == found


def test_it_searches_opensearch(opensearch_connector: OpenSearchConnector) -> None:
    retriever = VecdbRerankRetriever(
        opensearch_connector, limit=3, filter={"term": {"subject": "tax"}}
    )
    found = retriever.retrieve(QUERIES["tax"])
    assert found[0].node_id == "tax-0"
    assert {node.metadata["subject"] for node in found} == {"tax"}


def test_scores_can_be_added_to_the_metadata(connector: QdrantConnector) -> None:
    retriever = VecdbRerankRetriever(connector, limit=1, keep_scores=True)
    (best,) = retriever.retrieve(QUERIES["bees"])
    assert set(MARKS) <= set(best.metadata)
    assert best.metadata["rerank_score"] == best.score


def test_rerank_is_a_policy_or_off(connector: QdrantConnector) -> None:
    strict = replace(REPLACE, min_relevance=0.999)
    query = QUERIES["bread"]
    with observe() as outcomes:
        assert len(VecdbRerankRetriever(connector, k=10, rerank=strict).retrieve(query)) < 10
        assert len(VecdbRerankRetriever(connector, k=10, rerank=False).retrieve(query)) == 10
    assert [outcome.status for outcome in outcomes] == ["reranked", "skipped"]


def test_it_serves_a_query_engine(connector: QdrantConnector, reranker: OnnxReranker) -> None:
    retriever = VecdbRerankRetriever(connector, limit=3, search_kwargs={"mode": "bm25"})
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    with observe() as outcomes:
        response = engine.query(QUERIES["telescopes"])
    assert outcomes[0].mode == "bm25"
    assert len(response.source_nodes) == 3
    assert first_of("telescopes") in str(response)


def test_a_fusion_of_queries_finds_no_node_twice(connector: QdrantConnector) -> None:
    retriever = VecdbRerankRetriever(connector, limit=10)
    fused = QueryFusionRetriever(
        [retriever, VecdbRerankRetriever(connector, limit=10, search_kwargs={"mode": "bm25"})],
        llm=MockLLM(),
        num_queries=1,
        similarity_top_k=20,
        mode="reciprocal_rerank",  # type: ignore[arg-type]
        use_async=False,
    )
    found = [node.node_id for node in fused.retrieve(QUERIES["bees"])]
    assert len(found) == len(set(found))
    assert "bees-0" in found[:2]


async def test_an_asynchronous_connector_is_awaited() -> None:
    connector = AsyncQdrantConnector(
        AsyncQdrantClient(":memory:"),
        "notes",
        embedder=HashEmbedder(),
        reranker=KeepingReranker(),
        close_client=True,
    )
    await connector.create()
    await connector.add(CORPUS)
    retriever = VecdbRerankRetriever(connector, limit=2)
    assert (await retriever.aretrieve(QUERIES["bees"]))[0].node_id == "bees-0"
    with pytest.raises(ConfigurationError, match="AsyncQdrantConnector") as caught:
        retriever.retrieve(QUERIES["bees"])
    assert caught.value.key == "connector"
    await connector.close()


def test_a_retriever_from_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    retriever = VecdbRerankRetriever.from_settings(
        settings={"backend": {"path": ":memory:"}, "reranker": {"type": "none"}}, limit=3
    )
    connector: Any = retriever.connector
    connector.create()
    connector.add(CORPUS)
    with observe() as outcomes:
        assert len(retriever.retrieve("bees")) == 3
    assert outcomes[0].reason == "no reranker"
    connector.close()


# -- embeddings


async def test_embeddings_are_those_of_the_embedder(embedder: OnnxEmbedder) -> None:
    model = VecdbRerankEmbedding()
    assert model.model_name == embedder.name
    assert model.get_query_embedding("bees") == embedder.embed_query("bees")
    assert await model.aget_query_embedding("bees") == embedder.embed_query("bees")
    texts = ["bees", "tax"]
    assert model.get_text_embedding_batch(texts) == embedder.embed_documents(texts)
    assert await model.aget_text_embedding_batch(texts) == embedder.embed_documents(texts)
