"""LangChain: the two-stage example, and LangChain's own suite for retrievers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_community.vectorstores import OpenSearchVectorSearch
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField
from langchain_qdrant import QdrantVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from opensearchpy import AsyncOpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from tests.frameworks.conftest import Blocking
from vecdb_rerank import (
    Blend,
    ConfigurationError,
    Deadline,
    FirstPassError,
    OnnxEmbedder,
    OnnxReranker,
    Policy,
    Reranker,
    RerankError,
    TextFields,
    observe,
)
from vecdb_rerank.integrations.langchain import (
    VecdbRerankCompressor,
    VecdbRerankEmbeddings,
    VecdbRerankRetriever,
)
from vecdb_rerank.testing.corpus import CORPUS, QUERIES
from vecdb_rerank.testing.doubles import (
    HashEmbedder,
    KeepingReranker,
    RaisingReranker,
    ReversingReranker,
)
from vecdb_rerank_opensearch import AsyncOpenSearchConnector, OpenSearchConnector
from vecdb_rerank_qdrant import (
    AsyncQdrantConnector,
    QdrantConnector,
    RerankingQdrantClient,
)

REPLACE = Policy(blend=Blend("replace"))
DOCUMENTS = [
    Document(id=str(n), page_content=f"text {n}", metadata={"source": f"s{n}"}) for n in range(6)
]
TEXTS = [str(document["text"]) for document in CORPUS]
METADATA = [{"subject": document["subject"]} for document in CORPUS]


def names(documents: Any) -> list[str | None]:
    return [document.id for document in documents]


# -- the two-stage example


@pytest.fixture(scope="module", params=["qdrant", "opensearch"])
def vectorstore(request: pytest.FixtureRequest, embedder: OnnxEmbedder) -> Iterator[Any]:
    """A vector store of LangChain's own, filled by LangChain."""
    embeddings = VecdbRerankEmbeddings(embedder)
    if request.param == "qdrant":
        yield QdrantVectorStore.from_texts(TEXTS, embeddings, METADATA, location=":memory:")
        return
    store = OpenSearchVectorSearch.from_texts(
        TEXTS,
        embeddings,
        METADATA,
        opensearch_url=request.getfixturevalue("opensearch_url"),
        index_name=f"{request.getfixturevalue('index')}-langchain",
        engine="lucene",
        space_type="cosinesimil",
    )
    yield store
    store.client.close()
    asyncio.run(store.async_client.close())


@pytest.fixture
def two_stage(vectorstore: Any, reranker: OnnxReranker) -> ContextualCompressionRetriever:
    compressor = VecdbRerankCompressor(reranker, top_n=5)
    return ContextualCompressionRetriever(
        base_compressor=compressor,
        base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),
    )


def answered(documents: list[Document], subject: str, *, scored: bool = True) -> None:
    assert len(documents) == 5
    best, *_ = documents
    assert best.metadata["subject"] == subject
    assert best.page_content == next(d["text"] for d in CORPUS if d["subject"] == subject)
    if not scored:
        return
    scores = [document.metadata["rerank_score"] for document in documents]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= document.metadata["relevance_score"] <= 1 for document in documents)
    assert len({document.metadata["first_pass_rank"] for document in documents}) == 5


def test_the_two_stage_example(two_stage: ContextualCompressionRetriever) -> None:
    with observe() as outcomes:
        documents = two_stage.invoke(QUERIES["tax"])
    answered(documents, "tax")
    assert [(o.status, o.backend, o.seen) for o in outcomes] == [("reranked", "langchain", 40)]


async def test_the_two_stage_example_asynchronously(
    two_stage: ContextualCompressionRetriever, vectorstore: Any
) -> None:
    answered(await two_stage.ainvoke(QUERIES["bees"]), "bees")
    if isinstance(vectorstore, OpenSearchVectorSearch):  # its client belongs to this loop now
        await vectorstore.async_client.close()


def test_the_reranker_moves_the_vector_search_s_order(
    vectorstore: Any, reranker: OnnxReranker
) -> None:
    found = vectorstore.as_retriever(search_kwargs={"k": 40}).invoke(QUERIES["volcanoes"])
    compressor = VecdbRerankCompressor(reranker, top_n=None, policy=REPLACE)
    documents = compressor.compress_documents(found, QUERIES["volcanoes"])
    ranks = [document.metadata["first_pass_rank"] for document in documents]
    assert sorted(ranks) == list(range(1, 41))
    assert ranks != sorted(ranks)
    assert [found[rank - 1].page_content for rank in ranks] == [d.page_content for d in documents]


def test_the_documented_drop_in_recipe_reads_the_text_alone(
    embedder: OnnxEmbedder, reranker: OnnxReranker
) -> None:
    raw = QdrantClient(":memory:")
    raw.create_collection(
        "docs", models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)
    )
    client = RerankingQdrantClient(
        raw, reranker=reranker, text_fields=TextFields(("page_content",)), policy=REPLACE
    )
    store = QdrantVectorStore(client, "docs", VecdbRerankEmbeddings(embedder))
    ids = [str(uuid5(NAMESPACE_URL, text)) for text in TEXTS]
    store.add_texts(TEXTS, METADATA, ids)
    for subject in ("tax", "bees", "sailing"):
        query = QUERIES[subject]
        with observe() as outcomes:
            found = store.similarity_search(query, k=10, rerank_query=query)
        answered(found[:5], subject, scored=False)
        [outcome] = outcomes
        plain = reranker.score(query, [d.page_content for d in found], deadline=Deadline())
        assert [outcome.raw[str(d.metadata["_id"])] for d in found] == pytest.approx(
            list(plain.raw), abs=1e-4
        )
    client.close()


# -- the compressor


def test_documents_are_copied_with_id_and_content_and_never_changed() -> None:
    before = copy.deepcopy(DOCUMENTS)
    compressor = VecdbRerankCompressor(ReversingReranker(), top_n=3, policy=REPLACE)
    documents = compressor.compress_documents(DOCUMENTS, "query")
    assert before == DOCUMENTS
    assert names(documents) == ["5", "4", "3"]
    assert [document.page_content for document in documents] == ["text 5", "text 4", "text 3"]
    assert documents[0].metadata == {
        "source": "s5",
        "relevance_score": pytest.approx(6 / 7),
        "rerank_score": pytest.approx(6 / 7),
        "first_pass_rank": 6,
    }


def test_all_come_back_where_top_n_is_none() -> None:
    compressor = VecdbRerankCompressor(KeepingReranker(), top_n=None)
    assert names(compressor.compress_documents(DOCUMENTS, "query")) == list("012345")


def test_a_score_in_the_metadata_is_the_first_pass_s() -> None:
    documents = [Document(page_content="a", metadata={"score": 0.25})]
    (document,) = VecdbRerankCompressor(KeepingReranker()).compress_documents(documents, "query")
    assert document.metadata["score"] == document.metadata["first_pass_score"] == 0.25


def test_nothing_comes_of_nothing() -> None:
    compressor = VecdbRerankCompressor(RaisingReranker(), policy=Policy(on_error="raise"))
    with observe() as outcomes:
        assert compressor.compress_documents([], "query") == []
    assert [(o.status, o.reason) for o in outcomes] == [("skipped", "no hits")]


def test_equal_documents_are_all_kept_with_equal_scores() -> None:
    documents = [Document(page_content=text) for text in ("a", "b", "a", "b")]
    placed = VecdbRerankCompressor(ReversingReranker(), policy=REPLACE).compress_documents(
        documents, "query"
    )
    assert [(d.page_content, d.metadata["first_pass_rank"]) for d in placed] == [
        ("b", 2),
        ("b", 4),
        ("a", 1),
        ("a", 3),
    ]


def test_documents_without_text_come_last_without_scores() -> None:
    documents = [Document(page_content=text) for text in (" ", "a", "", "b")]
    placed = VecdbRerankCompressor(ReversingReranker(), policy=REPLACE).compress_documents(
        documents, "query"
    )
    assert [d.page_content for d in placed] == ["b", "a", " ", ""]
    for key in ("relevance_score", "rerank_score"):
        assert [d.metadata[key] is None for d in placed] == [False, False, True, True]
    assert [d.metadata["first_pass_rank"] for d in placed] == [4, 2, 1, 3]


async def test_top_n_and_policy_of_a_call_replace_those_of_the_compressor() -> None:
    compressor = VecdbRerankCompressor(ReversingReranker(), top_n=5, policy=REPLACE)
    strict = replace(REPLACE, min_relevance=0.6)
    documents = compressor.compress_documents(DOCUMENTS, "query", top_n=3, policy=strict)
    assert names(documents) == ["5", "4"]
    assert await compressor.acompress_documents(DOCUMENTS, "query", policy=strict) == documents
    assert names(compressor.compress_documents(DOCUMENTS, "query")) == list("54321")
    with pytest.raises(ConfigurationError) as caught:
        compressor.compress_documents(DOCUMENTS, "query", top_n=0)
    assert caught.value.key == "top_n"


def test_an_outage_keeps_the_first_of_the_given_order() -> None:
    compressor = VecdbRerankCompressor(RaisingReranker(), top_n=2)
    with observe() as outcomes:
        documents = compressor.compress_documents(DOCUMENTS, "query")
    assert names(documents) == ["0", "1"]
    assert documents[0].metadata == {
        "source": "s0",
        "relevance_score": None,
        "rerank_score": None,
        "first_pass_rank": 1,
    }
    (outcome,) = outcomes
    assert outcome.status == "fell_back"
    assert "raising" in str(outcome.reason)


async def test_an_outage_raises_where_the_policy_says_so() -> None:
    compressor = VecdbRerankCompressor(RaisingReranker(), policy=Policy(on_error="raise"))
    with pytest.raises(RerankError, match="raising"):
        compressor.compress_documents(DOCUMENTS, "query")
    with pytest.raises(RerankError, match="raising"):
        await compressor.acompress_documents(DOCUMENTS, "query")


def test_the_next_reranker_is_called_if_one_fails() -> None:
    chain: list[Reranker] = [RaisingReranker(), ReversingReranker()]
    with observe() as outcomes:
        documents = VecdbRerankCompressor(chain, policy=REPLACE).compress_documents(DOCUMENTS, "q")
    assert names(documents) == list("54321")
    assert outcomes[0].reranker == "reversing"
    assert list(outcomes[0].failed) == ["raising"]


def test_an_empty_query_keeps_the_order() -> None:
    with observe() as outcomes:
        documents = VecdbRerankCompressor(ReversingReranker()).compress_documents(DOCUMENTS, " ")
    assert names(documents) == list("01234")
    assert outcomes[0].reason == "the query is empty"


def test_the_minimum_relevance_of_the_policy_drops_documents() -> None:
    policy = Policy(min_relevance=0.5)
    documents = VecdbRerankCompressor(ReversingReranker(), policy=policy).compress_documents(
        DOCUMENTS, "query"
    )
    assert sorted(map(str, names(documents))) == list("345")


def test_metadata_is_read_where_it_is_named(reranker: OnnxReranker) -> None:
    documents = [
        Document(page_content="See the appendix.", metadata={"title": title})
        for title in ("Cooking pasta", "Income tax of freelancers", "Sailing knots")
    ]
    compressor = VecdbRerankCompressor(
        reranker, top_n=1, text_fields=TextFields(fields=("title", "page_content"))
    )
    (best,) = compressor.compress_documents(documents, "when do freelancers pay tax?")
    assert best.metadata["title"] == "Income tax of freelancers"


async def test_the_event_loop_goes_on_while_documents_are_scored(blocking: Blocking) -> None:
    compressor = VecdbRerankCompressor(blocking, policy=REPLACE)
    task = asyncio.ensure_future(compressor.acompress_documents(DOCUMENTS, "query"))
    await asyncio.sleep(0.01)
    blocking.go.set()
    assert names(await task) == list("54321")


def test_wrong_arguments_are_refused_when_it_is_made() -> None:
    with pytest.raises(ConfigurationError, match="top_n"):
        VecdbRerankCompressor(KeepingReranker(), top_n=0)
    wrong: Any
    for wrong in ("bundeld", []):
        with pytest.raises(ConfigurationError) as caught:
            VecdbRerankCompressor(wrong)
        assert caught.value.key == "reranker"


# -- the retriever


@pytest.fixture
def retriever(connector: QdrantConnector) -> VecdbRerankRetriever:
    return VecdbRerankRetriever(connector=connector, k=30, limit=4)


class TestRetriever(RetrieversIntegrationTests):
    """LangChain's own suite; our number of results is ``limit``, ``k`` is that of candidates."""

    @pytest.fixture(autouse=True)
    def _connected(self, connector: QdrantConnector) -> None:
        self._connector = connector

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return VecdbRerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"connector": self._connector, "limit": 5}

    @property
    def retriever_query_example(self) -> str:
        return QUERIES["python"]

    @property
    def num_results_arg_name(self) -> str:
        return "limit"


def test_documents_have_id_text_payload_and_scores(retriever: VecdbRerankRetriever) -> None:
    documents = retriever.invoke(QUERIES["sailing"])
    best = documents[0]
    stored = CORPUS[5]
    assert (best.id, len(documents)) == ("sailing-0", 4)
    assert best.page_content == f"{stored['title']}\n{stored['text']}"
    scored = {"relevance_score", "rerank_score", "first_pass_rank", "first_pass_score"}
    assert {k: v for k, v in best.metadata.items() if k not in scored} == stored
    assert scored <= set(best.metadata)
    scores = [document.metadata["rerank_score"] for document in documents]
    assert scores == sorted(scores, reverse=True)


async def test_every_way_to_call_it_finds_the_same(retriever: VecdbRerankRetriever) -> None:
    queries = [QUERIES["bread"], QUERIES["running"]]
    retriever = retriever.model_copy(update={"k": 5})
    expected = [retriever.invoke(query) for query in queries]
    assert retriever.batch(queries) == expected
    assert [await retriever.ainvoke(query) for query in queries] == expected
    assert await retriever.abatch(queries) == expected
    assert list(retriever.stream(queries[0])) == expected[:1]


def test_k_limit_filter_and_more_by_call_by_field_and_by_config(
    connector: QdrantConnector,
) -> None:
    of_tax = models.Filter(
        must=[models.FieldCondition(key="subject", match=models.MatchValue(value="tax"))]
    )
    retriever = VecdbRerankRetriever(
        connector=connector, filter=of_tax, search_kwargs={"mode": "bm25"}
    )
    with observe() as outcomes:
        assert {d.metadata["subject"] for d in retriever.invoke("invoice tax bread")} == {"tax"}
        retriever.invoke("bread", filter=models.Filter(), mode="dense", k=7, limit=2)
        configurable = retriever.configurable_fields(
            k=ConfigurableField(id="k"), limit=ConfigurableField(id="limit")
        )
        found = configurable.with_config(configurable={"k": 3, "limit": 1}).invoke("invoice tax")
    assert [(o.mode, o.seen) for o in outcomes[1:]] == [("dense", 7), ("bm25", 3)]
    assert outcomes[0].mode == "bm25"
    assert len(found) == 1


async def test_rerank_by_field_by_call_and_by_config(connector: QdrantConnector) -> None:
    strict = replace(REPLACE, min_relevance=0.999)
    retriever = VecdbRerankRetriever(connector=connector, k=10, rerank=strict)
    query = QUERIES["bread"]
    assert len(retriever.invoke(query)) < 10
    with observe() as outcomes:
        assert len(retriever.invoke(query, rerank=True)) == 10
        assert len(retriever.invoke(query, rerank=False)) == 10
        assert len(await retriever.ainvoke(query, rerank=REPLACE)) == 10
        configurable = retriever.configurable_fields(rerank=ConfigurableField(id="rerank"))
        found = configurable.with_config(configurable={"rerank": REPLACE}).invoke(query)
    assert len(found) == 10
    assert [o.status for o in outcomes] == ["reranked", "skipped", "reranked", "reranked"]


def test_an_outage_keeps_the_first_pass(connector: QdrantConnector) -> None:
    broken = QdrantConnector(
        connector.client,
        "frameworks",
        embedder=connector.pipeline.embedder,
        reranker=RaisingReranker(),
    )
    documents = VecdbRerankRetriever(connector=broken).invoke(QUERIES["bees"])
    assert [d.metadata["first_pass_rank"] for d in documents] == list(range(1, 11))
    assert {d.metadata["rerank_score"] for d in documents} == {None}
    assert all(d.metadata["first_pass_score"] > 0 for d in documents)


class Remembers(BaseCallbackHandler):
    """What LangChain records of a retriever's run."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **_: Any) -> None:
        self.said.append(query)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        self.said.append(len(documents))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.said.append(type(error))


async def test_callbacks_hear_of_it(retriever: VecdbRerankRetriever) -> None:
    handler = Remembers()
    retriever.invoke("honey", config={"callbacks": [handler]})
    await retriever.ainvoke("nectar", config={"callbacks": [handler]})
    with pytest.raises(ConfigurationError) as caught:
        retriever.invoke(" ", config={"callbacks": [handler]})
    assert caught.value.key == "query"
    assert handler.said == ["honey", 4, "nectar", 4, " ", ConfigurationError]


async def test_an_asynchronous_connector_is_awaited(reranker: OnnxReranker) -> None:
    connector = AsyncQdrantConnector(
        AsyncQdrantClient(":memory:"),
        "notes",
        embedder=HashEmbedder(),
        reranker=reranker,
        close_client=True,
    )
    await connector.create()
    await connector.add(CORPUS)
    retriever = VecdbRerankRetriever(connector=connector, limit=2)
    assert (await retriever.ainvoke(QUERIES["bees"]))[0].id == "bees-0"
    with pytest.raises(ConfigurationError, match="AsyncQdrantConnector") as caught:
        retriever.invoke(QUERIES["bees"])
    assert caught.value.key == "connector"
    await connector.close()


async def test_a_synchronous_and_an_asynchronous_connector_serve_both(
    connector: QdrantConnector,
) -> None:
    other = AsyncQdrantConnector(
        AsyncQdrantClient(":memory:"), "empty", embedder=HashEmbedder(), close_client=True
    )
    await other.create()
    retriever = VecdbRerankRetriever(connector=connector, async_connector=other)
    assert len(retriever.invoke("honey")) == 10
    assert await retriever.ainvoke("honey") == []
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRetriever(connector=connector, async_connector=connector).invoke("honey")
    assert caught.value.key == "async_connector"
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRetriever(connector=other, async_connector=other).invoke("honey")
    assert caught.value.key == "connector"
    await other.close()


async def test_it_searches_opensearch_synchronously_and_asynchronously(
    opensearch_connector: OpenSearchConnector, opensearch_url: str, index: str
) -> None:
    other = AsyncOpenSearchConnector(
        AsyncOpenSearch(opensearch_url),
        index,
        embedder=opensearch_connector.pipeline.embedder,
        reranker=KeepingReranker(),
        close_client=True,
    )
    retriever = VecdbRerankRetriever(
        connector=opensearch_connector,
        async_connector=other,
        limit=3,
        filter={"term": {"subject": "bees"}},
    )
    with observe() as outcomes:
        found = retriever.invoke(QUERIES["bees"])
        awaited = await retriever.ainvoke(QUERIES["bees"])
    assert found[0].id == awaited[0].id == "bees-0"
    assert {document.metadata["subject"] for document in (*found, *awaited)} == {"bees"}
    assert [(o.backend, o.reranker[:4]) for o in outcomes] == [
        ("opensearch", "onnx"),
        ("opensearch", "keep"),
    ]
    await other.close()


def test_a_collection_that_langchain_filled_is_read_in_its_shape(
    embedder: OnnxEmbedder, reranker: OnnxReranker
) -> None:
    store = QdrantVectorStore.from_texts(
        TEXTS, VecdbRerankEmbeddings(embedder), METADATA, location=":memory:", collection_name="lc"
    )
    connector = QdrantConnector(
        store.client,
        "lc",
        dense_vector=None,
        embedder=embedder,
        reranker=reranker,
        text_fields=TextFields(fields=("page_content",)),
    )
    retriever = VecdbRerankRetriever(
        connector=connector,
        limit=1,
        search_kwargs={"mode": "dense"},
        content_field="page_content",
        metadata_field="metadata",
    )
    (document,) = retriever.invoke(QUERIES["telescopes"])
    assert document.page_content == next(d["text"] for d in CORPUS if d["subject"] == "telescopes")
    assert document.metadata["subject"] == "telescopes"


def test_a_retriever_from_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text("[backend]\npath = ':memory:'\n[search]\nlimit = 3\n")
    retriever = VecdbRerankRetriever.from_settings(
        "own.toml", settings={"reranker": {"type": "none"}}, k=20
    )
    connector: Any = retriever.connector
    connector.create()
    connector.add(CORPUS)
    with observe() as outcomes:
        assert len(retriever.invoke("bees")) == 3
    assert (outcomes[0].reason, outcomes[0].seen) == ("no reranker", 20)
    connector.close()


def test_a_database_that_is_away_raises_our_error(embedder: OnnxEmbedder) -> None:
    retriever = VecdbRerankRetriever.from_settings(
        settings={"backend": {"url": "http://127.0.0.1:9", "timeout": 2}}
    )
    with pytest.raises(FirstPassError, match=r"127\.0\.0\.1"):
        retriever.invoke("bees")


# -- embeddings


def test_embeddings_are_those_of_the_embedder(embedder: OnnxEmbedder) -> None:
    embeddings = VecdbRerankEmbeddings()
    assert embeddings.embed_query("bees") == embedder.embed_query("bees")
    assert embeddings.embed_documents(["bees", "tax"]) == embedder.embed_documents(["bees", "tax"])
