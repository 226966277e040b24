"""Haystack: ranker and retriever in pipelines, saved and loaded, sync and async."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import haystack
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.core.errors import SerializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret
from qdrant_client import AsyncQdrantClient

from tests.frameworks.conftest import Blocking
from vecdb_rerank import ConfigurationError, OnnxReranker, RerankError, TextFields, observe
from vecdb_rerank.integrations.haystack import VecdbRerankRanker, VecdbRerankRetriever
from vecdb_rerank.testing.base import new_name
from vecdb_rerank.testing.corpus import CORPUS, QUERIES
from vecdb_rerank.testing.doubles import (
    HashEmbedder,
    KeepingReranker,
    RaisingReranker,
    ReversingReranker,
)
from vecdb_rerank_opensearch import OpenSearchConnector
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

REPLACE = {"blend": {"method": "replace"}}
KEY = "s3cr3t-that-nobody-may-see"
# Haystack 2 has a separate pipeline for asynchronous runs, and loads any component.
HAYSTACK_2 = not hasattr(Pipeline, "run_async")
AnyPipeline: Any = getattr(haystack, "AsyncPipeline" if HAYSTACK_2 else "Pipeline")
LOADING: dict[str, Any] = {} if HAYSTACK_2 else {"allowed_modules": ["vecdb_rerank"]}


def documents() -> list[Document]:
    return [
        Document(id=f"d{n}", content=f"text {n}", meta={"page": n}, score=0.9 - n / 10)
        for n in range(5)
    ]


def ids(answer: dict[str, Any]) -> list[str]:
    return [document.id for document in answer["documents"]]


# -- the ranker


@pytest.fixture
def store() -> InMemoryDocumentStore:
    store = InMemoryDocumentStore()
    store.write_documents(
        [
            Document(id=str(d["id"]), content=str(d["text"]), meta={"subject": d["subject"]})
            for d in CORPUS
        ]
    )
    return store


def bm25_and_ranker(store: InMemoryDocumentStore, kind: Any = Pipeline) -> Any:
    pipeline = kind()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=30))
    pipeline.add_component("ranker", VecdbRerankRanker(top_k=5))
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def ask(query: str) -> dict[str, Any]:
    return {"retriever": {"query": query}, "ranker": {"query": query}}


def answered(answer: dict[str, Any]) -> None:
    assert (ids(answer)[0], len(ids(answer))) == ("tax-0", 5)
    scores = [document.score for document in answer["documents"]]
    assert scores == sorted(scores, reverse=True)


def test_a_pipeline_of_bm25_and_ranker(store: InMemoryDocumentStore) -> None:
    with observe() as outcomes:
        answered(bm25_and_ranker(store).run(ask(QUERIES["tax"]))["ranker"])
    assert [(o.status, o.backend) for o in outcomes] == [("reranked", "haystack")]


async def test_a_pipeline_of_bm25_and_ranker_asynchronously(store: InMemoryDocumentStore) -> None:
    pipeline = bm25_and_ranker(store, AnyPipeline)
    answered((await pipeline.run_async(ask(QUERIES["tax"])))["ranker"])


def test_a_saved_pipeline_gives_the_same_answer(store: InMemoryDocumentStore) -> None:
    pipeline = bm25_and_ranker(store)
    saved = pipeline.dumps()
    loaded = Pipeline.loads(saved, **LOADING)
    assert loaded.dumps() == saved
    ranker, before = loaded.get_component("ranker"), pipeline.get_component("ranker")
    assert ranker.run("query", documents()) == before.run("query", documents())


def test_documents_are_copied_and_each_has_its_own_score() -> None:
    given, before = documents(), copy.deepcopy(documents())
    ranker = VecdbRerankRanker(ReversingReranker(), top_k=3, policy=REPLACE)
    answer = ranker.run("query", given)
    assert given == before
    assert ids(answer) == ["d4", "d3", "d2"]
    for document in answer["documents"]:
        n = int(document.id[1:])
        assert document.content == f"text {n}"
        assert document.score == pytest.approx((n + 1) / 6)
        assert document.meta == {
            "page": n,
            "relevance_score": document.score,
            "rerank_score": document.score,
            "first_pass_rank": n + 1,
            "first_pass_score": 0.9 - n / 10,
        }
    assert ids(ranker.run("query", given, top_k=1)) == ["d4"]
    assert ranker.run("query", []) == {"documents": []}


async def test_an_outage_keeps_order_and_scores() -> None:
    ranker = VecdbRerankRanker(RaisingReranker(), top_k=2)
    for answer in (
        ranker.run("query", documents()),
        await ranker.run_async("query", documents()),
    ):
        assert [(d.id, d.score) for d in answer["documents"]] == [("d0", 0.9), ("d1", 0.8)]
    strict = VecdbRerankRanker(RaisingReranker(), policy={"on_error": "raise"})
    with pytest.raises(RerankError, match="raising"):
        strict.run("query", documents())


def test_documents_without_content_and_twice() -> None:
    given = [
        Document(id="none", content=None, meta={"page": 1}),
        Document(id="twice", content="same"),
        Document(id="twice", content="same"),
    ]
    answer = VecdbRerankRanker(KeepingReranker()).run("query", given)
    assert ids(answer) == ["twice", "twice", "none"]
    last = answer["documents"][-1]
    assert (last.score, last.meta["rerank_score"]) == (0.0, None)


async def test_top_k_and_policy_of_a_call_replace_those_of_the_ranker() -> None:
    ranker = VecdbRerankRanker(ReversingReranker(), policy=REPLACE)
    strict = {**REPLACE, "min_relevance": 0.6}
    assert ids(ranker.run("query", documents(), policy=strict)) == ["d4", "d3"]
    assert ids(await ranker.run_async("query", documents(), policy=strict)) == ["d4", "d3"]
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    given = {"query": "query", "documents": documents(), "policy": strict, "top_k": 1}
    assert ids(pipeline.run({"ranker": given})["ranker"]) == ["d4"]
    assert len(ids(ranker.run("query", documents()))) == 5
    with pytest.raises(ConfigurationError) as caught:
        ranker.run("query", documents(), policy={"deadlin": 1})
    assert caught.value.key == "policy.deadlin"


def test_meta_fields_are_read_where_they_are_named(reranker: OnnxReranker) -> None:
    given = [
        Document(content="See the appendix.", meta={"title": title})
        for title in ("Cooking pasta", "Income tax of freelancers", "Sailing knots")
    ]
    ranker = VecdbRerankRanker(reranker, top_k=1, meta_fields_to_embed=["title"])
    (best,) = ranker.run("when do freelancers pay tax?", given)["documents"]
    assert best.meta["title"] == "Income tax of freelancers"


async def test_the_event_loop_goes_on_while_documents_are_scored(blocking: Blocking) -> None:
    ranker = VecdbRerankRanker(blocking, policy=REPLACE)
    task = asyncio.ensure_future(ranker.run_async("query", documents()))
    await asyncio.sleep(0.01)
    blocking.go.set()
    assert ids(await task) == ["d4", "d3", "d2", "d1", "d0"]


def test_a_chain_from_settings_is_saved_with_its_secrets_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service: dict[str, Any] = {
        "type": "http",
        "url": "http://127.0.0.1:9",  # closed
        "model": "m",
        "retries": 0,
        "api_key": Secret.from_env_var("RERANK_KEY"),
        "headers": {"X-Gateway": Secret.from_env_var("RERANK_KEY")},
    }
    chain: list[dict[str, Any]] = [service, {"type": "onnx"}]
    ranker = VecdbRerankRanker(chain, policy=REPLACE)
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    saved = pipeline.dumps()
    monkeypatch.setenv("RERANK_KEY", KEY)
    loaded = Pipeline.loads(saved, **LOADING)
    with observe() as outcomes:
        loaded.run({"query": "text 3", "documents": documents()})
    (outcome,) = outcomes
    assert outcome.reranker.startswith("onnx:")
    assert len(outcome.failed) == 1
    assert loaded.dumps() == pipeline.dumps() == saved
    assert "RERANK_KEY" in saved
    assert KEY not in saved


def test_a_key_that_is_missing_is_asked_for_before_anything_is_sent() -> None:
    ranker = VecdbRerankRanker(
        {"type": "cohere", "api_key": Secret.from_env_var("A_KEY_THAT_NOBODY_SET")}
    )
    with pytest.raises(ValueError, match="A_KEY_THAT_NOBODY_SET"):
        ranker.run("query", documents())


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"reranker": {"type": "cohere", "api_key": KEY}}, "reranker.api_key"),
        ({"reranker": {"type": "http", "url": f"http://u:{KEY}@h"}}, "reranker.url"),
        (
            {"reranker": {"type": "http", "url": "http://h", "headers": {"X-Gateway": KEY}}},
            "reranker.headers.X-Gateway",
        ),
        (
            {"reranker": {"type": "http", "url": "http://h", "query_params": {"v": KEY}}},
            "reranker.query_params.v",
        ),
        ({"reranker": {"type": "onnyx"}}, "rerankers.0.type"),
        ({"reranker": [{"type": "onnx", "modle": "m"}]}, "rerankers.0.modle"),
        ({"policy": {"deadlin": 1}}, "policy.deadlin"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_wrong_arguments_are_refused_and_no_secret_is_shown(
    arguments: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRanker(**arguments)
    assert caught.value.key == key
    assert KEY not in str(caught.value)


def test_no_reranker_and_an_empty_chain() -> None:
    assert ids(VecdbRerankRanker({"type": "none"}, top_k=2).run("q", documents())) == ["d0", "d1"]
    assert ids(VecdbRerankRanker(None, top_k=1).run("q", documents())) == ["d0"]
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRanker([]).run("q", documents())
    assert caught.value.key == "reranker"


def test_a_reranker_itself_cannot_be_saved() -> None:
    with pytest.raises(SerializationError, match="settings"):
        VecdbRerankRanker(KeepingReranker()).to_dict()


# -- the retriever


def alone(connector: QdrantConnector, kind: Any = Pipeline) -> Any:
    pipeline = kind()
    pipeline.add_component("retriever", VecdbRerankRetriever(connector, top_k=4, k=30))
    return pipeline


def test_a_retriever_in_a_pipeline(connector: QdrantConnector) -> None:
    answer = alone(connector).run({"query": QUERIES["sailing"]})["retriever"]
    best, stored = answer["documents"][0], CORPUS[5]
    assert (ids(answer)[0], len(ids(answer))) == ("sailing-0", 4)
    assert best.content == f"{stored['title']}\n{stored['text']}"
    assert best.score == best.meta["rerank_score"]
    assert {key: best.meta[key] for key in stored} == stored


async def test_a_retriever_in_an_asynchronous_pipeline(connector: QdrantConnector) -> None:
    pipeline = alone(connector, AnyPipeline)
    answer = (await pipeline.run_async({"retriever": {"query": QUERIES["sailing"]}}))["retriever"]
    assert (ids(answer)[0], len(ids(answer))) == ("sailing-0", 4)


@pytest.mark.parametrize("mode", ["bm25", "hybrid", "dense"])
def test_filters_are_native_and_may_be_plain_json(connector: QdrantConnector, mode: str) -> None:
    of_tax = {"must": [{"key": "subject", "match": {"value": "tax"}}]}
    retriever = VecdbRerankRetriever(connector, filters=of_tax, mode=mode)
    with observe() as outcomes:
        found = retriever.run("invoice bread", top_k=2, k=3)["documents"]
    assert {document.meta["subject"] for document in found} == {"tax"}
    assert (outcomes[0].mode, outcomes[0].seen <= 3) == (mode, True)


async def test_rerank_and_policy_by_component_and_by_call(connector: QdrantConnector) -> None:
    strict = {**REPLACE, "min_relevance": 0.999}
    retriever = VecdbRerankRetriever(connector, k=10, policy=strict)
    query = QUERIES["bread"]
    with observe() as outcomes:
        assert len(retriever.run(query)["documents"]) < 10
        assert len(retriever.run(query, rerank=False)["documents"]) == 10
        assert len((await retriever.run_async(query, policy=REPLACE))["documents"]) == 10
    assert [outcome.status for outcome in outcomes] == ["reranked", "skipped", "reranked"]
    saved = VecdbRerankRetriever(rerank=False, policy=strict).to_dict()["init_parameters"]
    assert (saved["rerank"], saved["policy"]) == (False, strict)
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRetriever(connector, policy={"deadlin": 1})
    assert caught.value.key == "policy.deadlin"


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
    retriever = VecdbRerankRetriever(connector, top_k=2)
    assert ids(await retriever.run_async(QUERIES["bees"]))[0] == "bees-0"
    with pytest.raises(ConfigurationError, match="AsyncQdrantConnector") as caught:
        retriever.run(QUERIES["bees"])
    assert caught.value.key == "connector"
    await connector.close()


async def test_a_retriever_from_settings_can_be_saved_and_awaited(
    opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_name()
    retriever = VecdbRerankRetriever(
        settings={
            "backend": {
                "type": "opensearch",
                "url": Secret.from_env_var("OPENSEARCH_URL"),
                "collection": name,
            },
            "text_fields": {"fields": ["text"]},
        },
        top_k=3,
        filters={"term": {"subject.keyword": "bees"}},
    )
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    saved = pipeline.dumps()
    assert opensearch_url not in saved
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    from opensearchpy import OpenSearch

    filler = OpenSearchConnector(
        OpenSearch(opensearch_url),
        name,
        text_fields=TextFields(fields=("text",)),
        close_client=True,
    )
    filler.create()
    try:
        filler.add(CORPUS)
        loaded = Pipeline.loads(saved, **LOADING)
        answer = loaded.run({"query": QUERIES["bees"]})["retriever"]
        assert ids(answer)[0] == "bees-0"
        assert {document.meta["subject"] for document in answer["documents"]} == {"bees"}
        component: Any = loaded.get_component("retriever")
        assert await component.run_async(QUERIES["bees"]) == answer
        component.close()
    finally:
        filler.delete()
        filler.close()


async def test_an_asynchronous_one_from_settings_is_closed() -> None:
    retriever = VecdbRerankRetriever(
        settings={"backend": {"path": ":memory:"}, "reranker": {"type": "none"}}, use_async=True
    )
    retriever.warm_up()
    connector: Any = retriever._opened
    await connector.create()
    await connector.add(CORPUS)
    assert ids(await retriever.run_async("Honey bees dance", top_k=1)) == ["bees-0"]
    await retriever.close_async()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"settings": {"backend": {"api_key": KEY}}}, "settings.backend.api_key"),
        ({"connector": object(), "file": "f.toml"}, "connector"),
        ({"top_k": -1}, "top_k"),
    ],
)
def test_wrong_arguments_of_the_retriever_are_refused(arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        VecdbRerankRetriever(**arguments)
    assert caught.value.key == key
    assert KEY not in str(caught.value)


def test_a_connector_itself_cannot_be_saved(connector: QdrantConnector) -> None:
    with pytest.raises(SerializationError, match="settings"):
        VecdbRerankRetriever(connector).to_dict()
