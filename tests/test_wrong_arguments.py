"""What simply works, and what is wrong: each wrong argument is named before anything is sent."""

# mypy: disable-error-code="arg-type, call-overload, list-item, dict-item"

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.servers import free_port
from vecdb_rerank import (
    Blend,
    Breaker,
    Calibration,
    CascadeReranker,
    CohereReranker,
    ConfigurationError,
    Cost,
    CrossEncoderReranker,
    Deadline,
    Document,
    Effort,
    ExactTerms,
    FlagEmbeddingReranker,
    FunctionEmbedder,
    FunctionReranker,
    Fusion,
    HttpReranker,
    LateInteractionReranker,
    OnnxEmbedder,
    OnnxReranker,
    Passages,
    Policy,
    SearchDefaults,
    SentenceTransformersEmbedder,
    Skip,
    TextFields,
    connect,
    connect_async,
    observe,
    rerank_query,
)
from vecdb_rerank.integrations.haystack import VecdbRerankRanker
from vecdb_rerank.integrations.haystack import VecdbRerankRetriever as HaystackRetriever
from vecdb_rerank.integrations.langchain import VecdbRerankCompressor, VecdbRerankRetriever
from vecdb_rerank.integrations.llama_index import VecdbRerankPostprocessor
from vecdb_rerank.integrations.llama_index import VecdbRerankRetriever as LlamaIndexRetriever
from vecdb_rerank_opensearch import (
    AsyncOpenSearchConnector,
    AsyncRerankingOpenSearch,
    OpenSearchConnector,
    RerankingOpenSearch,
)
from vecdb_rerank_qdrant import (
    AsyncQdrantConnector,
    AsyncRerankingQdrantClient,
    Bm25,
    QdrantConnector,
    RerankingQdrantClient,
)


def vectors(texts: Sequence[str]) -> list[list[float]]:
    """A dimension for bread, one for all the rest."""
    return [[float("bread" in text), 1.0] for text in texts]


def scores(query: str, texts: Sequence[str]) -> list[float]:
    return [0.9 if query in text else 0.1 for text in texts]


LIGHT: dict[str, Any] = {"embedder": vectors, "reranker": None}
# Nothing listens there: whatever is sent fails in another way.
NOWHERE = f"http://127.0.0.1:{free_port()}"


class Clients(NamedTuple):
    """Clients of every kind; those of OpenSearch reach nothing."""

    qdrant: QdrantClient
    async_qdrant: AsyncQdrantClient
    opensearch: OpenSearch
    async_opensearch: AsyncOpenSearch


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    qdrant = QdrantClient(":memory:")
    connector = QdrantConnector(qdrant, "c", **LIGHT)
    connector.create()
    connector.add([{"id": 1, "text": "bread"}, {"id": 2, "text": "fox"}])
    yield Clients(
        qdrant,
        AsyncQdrantClient(":memory:"),
        OpenSearch(NOWHERE, max_retries=0),
        AsyncOpenSearch(NOWHERE, max_retries=0),
    )
    qdrant.close()


def of_qdrant(clients: Clients, **options: Any) -> QdrantConnector:
    return QdrantConnector(clients.qdrant, "c", **{**LIGHT, **options})


def of_opensearch(clients: Clients, **options: Any) -> OpenSearchConnector:
    return OpenSearchConnector(clients.opensearch, "c", **{**LIGHT, **options})


# -- what simply works


def test_integers_of_numpy_count(clients: Clients) -> None:
    connector = of_qdrant(clients, defaults=SearchDefaults(k=np.int64(7), limit=np.int32(2)))
    found = connector.search("bread", k=np.int64(5), limit=np.int16(1), offset=np.uint8(1))
    assert [point.id for point in found.points] == [2]
    assert type(connector.defaults.k) is int
    weighted = Fusion("min_max", weights=np.array([0.3, 0.7]))
    assert connector.search("bread", fusion=weighted).points[0].id == 1
    assert (weighted.weights, Effort(pairs=np.int64(5)).pairs) == ((0.3, 0.7), 5)
    drop_in = RerankingQdrantClient(clients.qdrant, None, k=np.int64(5))
    assert drop_in.query_points("c", [1.0, 0.0], using="dense", limit=1).points[0].id == 1


def test_functions_are_embedder_and_reranker(clients: Clients) -> None:
    connector = of_qdrant(clients, reranker=scores)
    with observe() as outcomes:
        found = connector.search("fox", mode="dense")
    assert [point.id for point in found.points] == [2, 1]
    assert outcomes[0].reranker == "scores"


async def test_a_coroutine_function_is_a_reranker() -> None:
    async def remote(query: str, texts: Sequence[str]) -> list[float]:
        await asyncio.sleep(0)
        return scores(query, texts)

    compressor = VecdbRerankCompressor(reranker=remote)
    documents = [_lang_document("bread"), _lang_document("fox")]
    best = await compressor.acompress_documents(documents, "fox")
    assert best[0].page_content == "fox"


def _lang_document(text: str) -> Any:
    from langchain_core.documents import Document as LangDocument

    return LangDocument(page_content=text)


@pytest.mark.parametrize("reranker", ["onnx", ["onnx"], "cohere", "none"])
def test_the_name_of_an_installed_reranker_is_one(
    reranker: Any, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_API_KEY", "none")
    chain = of_qdrant(clients, reranker=reranker).pipeline.chain
    assert (chain is None) == (reranker == "none")
    if chain is not None:
        assert chain.name.partition(":")[0] in ("onnx", "cohere")


def test_a_mapping_is_a_policy(clients: Clients) -> None:
    connector = of_qdrant(
        clients,
        reranker=scores,
        policy={"deadline": 5, "blend": {"method": "replace"}, "breaker": None},
    )
    assert connector.pipeline.policy == Policy(deadline=5, blend=Blend("replace"), breaker=None)
    with observe() as outcomes:
        connector.search("bread", rerank={"skip": {"few": 9}})
    assert outcomes[0].status == "skipped"
    calibrated = {"calibration": {"a": {"slope": 2.0}}, "cost": {"prices": {"a": 1.0}}}
    assert of_qdrant(clients, policy=calibrated).pipeline.policy == Policy(
        calibration={"a": Calibration(2.0)}, cost=Cost({"a": 1.0})
    )


# -- what is wrong

Call = Callable[[Clients], object]
WRONG: dict[str, tuple[str, Call]] = {}


def wrong(key: str, **calls: Call) -> None:
    """Add calls that must name ``key``."""
    for name, call in calls.items():
        WRONG[f"{key}-{name}"] = key, call


def search(**options: Any) -> Call:
    return lambda c: of_qdrant(c).search(**{"query": "bread", **options})


def search_opensearch(**options: Any) -> Call:
    return lambda c: of_opensearch(c).search(**{"query": "bread", **options})


def drop_in(**options: Any) -> Call:
    return lambda c: RerankingQdrantClient(c.qdrant, **{"reranker": None, **options})


def connector(**options: Any) -> Call:
    return lambda c: of_qdrant(c, **options)


def add(documents: Any, **options: Any) -> Call:
    return lambda c: of_qdrant(c).add(documents, **options)


wrong(
    "client",
    url=lambda c: QdrantConnector("http://localhost:6333", "c"),
    none=lambda c: QdrantConnector(None, "c"),
    url_opensearch=lambda c: OpenSearchConnector("http://localhost:9200", "c"),
    other_database=lambda c: OpenSearchConnector(c.qdrant, "c"),
    async_in_sync=lambda c: QdrantConnector(c.async_qdrant, "c"),
    sync_in_async=lambda c: AsyncQdrantConnector(c.qdrant, "c"),
    async_in_sync_opensearch=lambda c: OpenSearchConnector(c.async_opensearch, "c"),
    sync_in_async_opensearch=lambda c: AsyncOpenSearchConnector(c.opensearch, "c"),
    the_class=lambda c: QdrantConnector(QdrantClient, "c"),
    drop_in_url=lambda c: RerankingQdrantClient("http://localhost:6333"),
    drop_in_async=lambda c: RerankingQdrantClient(c.async_qdrant),
    drop_in_sync=lambda c: AsyncRerankingQdrantClient(c.qdrant),
    drop_in_opensearch=lambda c: RerankingOpenSearch(NOWHERE),
    drop_in_opensearch_async=lambda c: AsyncRerankingOpenSearch(c.opensearch),
    drop_in_twice=lambda c: RerankingQdrantClient(RerankingQdrantClient(c.qdrant)),
    drop_in_in_connector=lambda c: QdrantConnector(RerankingQdrantClient(c.qdrant, None), "c"),
    cohere=lambda c: CohereReranker(client="key"),
)
wrong(
    "collection",
    none=lambda c: QdrantConnector(c.qdrant, None, **LIGHT),
    empty=lambda c: QdrantConnector(c.qdrant, "", **LIGHT),
    listed=lambda c: QdrantConnector(c.qdrant, ["c"], **LIGHT),
)
wrong(
    "index",
    none=lambda c: OpenSearchConnector(c.opensearch, None, **LIGHT),
    listed=lambda c: OpenSearchConnector(c.opensearch, ["c"], **LIGHT),
    empty=lambda c: AsyncOpenSearchConnector(c.async_opensearch, "", **LIGHT),
)
wrong(
    "dense_vector",
    number=connector(dense_vector=5),
    opensearch=lambda c: of_opensearch(c, dense_vector=5),
)
wrong("bm25_vector", number=connector(bm25_vector=5), empty=connector(bm25_vector=""))
wrong(
    "text_index", number=connector(text_index=5), both=connector(text_index="text", bm25_vector="b")
)
wrong("bm25", word=connector(bm25="german"), mapping=connector(bm25={"k": 1.2}))
wrong(
    "bm25_fields",
    text=lambda c: of_opensearch(c, bm25_fields="title"),
    none=lambda c: of_opensearch(c, bm25_fields=None),
    empty=lambda c: of_opensearch(c, bm25_fields=(), dense_vector=None),
    numbers=lambda c: of_opensearch(c, bm25_fields=[1]),
    boost=lambda c: of_opensearch(c, bm25_fields=["title^x"]),
    negative_boost=lambda c: of_opensearch(c, bm25_fields=["title^-1"]),
)
wrong(
    "language",
    typo=lambda c: of_opensearch(c, language="germn"),
    code=lambda c: Bm25(language="de"),
    none=lambda c: Bm25(language=None),
)
wrong(
    "embedder",
    path=connector(embedder="./model"),
    number=connector(embedder=5),
    the_class=connector(embedder=OnnxEmbedder),
    vectors=connector(embedder=[[1.0]]),
    half=connector(embedder=type("Half", (), {"embed_query": vectors})()),
    none_to_create=lambda c: of_qdrant(c, embedder=None).create(),
    wrong_count=lambda c: FunctionEmbedder(lambda texts: []).embed_query("x"),
)
wrong(
    "reranker",
    path=connector(reranker="./model"),
    typo=connector(reranker="coheer"),
    number=connector(reranker=5),
    the_class=connector(reranker=OnnxReranker),
    empty=connector(reranker=[]),
    of_one_argument=connector(reranker=lambda query: [0.5]),
    needs_arguments=connector(reranker="http"),
    mapping=connector(reranker={"type": "onnx"}),
    twice=connector(reranker=["onnx", "onnx"]),
    listed_none=connector(reranker=["none"]),
    haystack=lambda c: VecdbRerankRanker(reranker=5),
    drop_in=drop_in(reranker="./model"),
    drop_in_opensearch=lambda c: RerankingOpenSearch(c.opensearch, 7),
    cascade=lambda c: CascadeReranker("./model", None),
    langchain=lambda c: VecdbRerankCompressor(reranker=7),
    llama_index=lambda c: VecdbRerankPostprocessor(reranker="./model"),
)
wrong(
    "policy",
    number=connector(policy=5),
    word=connector(policy="fallback"),
    drop_in=drop_in(policy=["fast"]),
    listed=lambda c: Policy.of([1]),
    none=lambda c: Policy.of(None),
    haystack=lambda c: VecdbRerankRanker(policy=5),
    haystack_retriever=lambda c: HaystackRetriever(policy=5),
    langchain=lambda c: VecdbRerankCompressor(policy="fast"),
)
wrong("policy.dedline", typo=connector(policy={"dedline": 5}))
wrong("policy.blend.weigth", typo=connector(policy={"blend": {"weigth": 0.5}}))
wrong("policy.blend", word=lambda c: Policy(blend="rrf"))
wrong(
    "policy.deadline",
    text=lambda c: Policy(deadline="5"),
    zero=connector(policy={"deadline": 0}),
    timedelta=lambda c: Policy(deadline=datetime.timedelta(seconds=1)),
)
wrong("policy.min_relevance", percent=lambda c: Policy(min_relevance=50))
wrong("policy.on_error", word=lambda c: Policy(on_error="ignore"))
wrong("policy.on_outcome", word=lambda c: Policy(on_outcome="print"))
wrong("policy.calibration", number=lambda c: Policy(calibration=1.0))
wrong("policy.calibration.slope", zero=lambda c: Calibration(slope=0))
wrong("policy.blend.method", word=lambda c: Blend("linear"))
wrong("policy.blend.weight", text=lambda c: Blend(weight="0.5"))
wrong(
    "policy.breaker.failures",
    text=lambda c: Breaker(failures="5"),
    zero=lambda c: Breaker(failures=0),
)
wrong("policy.cost.prices", listed=lambda c: Cost(prices=[0.002]))
wrong("policy.cost.per_day", text=lambda c: Cost(per_day="10"))
wrong("policy.exact_terms.terms", text=lambda c: ExactTerms(terms="ERR"))
wrong("policy.passages.window", small=lambda c: Passages(window=2))
wrong("policy.skip.exact", word=lambda c: Skip(exact="yes"))
wrong("policy.skip.few", text=lambda c: Skip(few="3"))
wrong(
    "text_fields",
    text=connector(text_fields="title"),
    listed=connector(text_fields=["title"]),
    drop_in=drop_in(text_fields=["title"]),
    langchain=lambda c: VecdbRerankCompressor(text_fields=["title"]),
)
wrong(
    "text_fields.fields",
    text=lambda c: TextFields("title"),
    none=lambda c: TextFields(None),
    number=lambda c: TextFields((1,)),
    empty=lambda c: TextFields(()),
)
wrong(
    "text_fields.template",
    number=lambda c: TextFields(template=5),
    brace=lambda c: TextFields(template="{title"),
)
wrong("text_fields.max_chars", text=lambda c: TextFields(max_chars="9"))
wrong("defaults", mapping=connector(defaults={"k": 5}))
wrong("close_client", word=connector(close_client="yes"))
wrong("rerankr", typo=connector(rerankr=None))
wrong(
    "query",
    none=search(query=None),
    empty=search(query=" "),
    vector=search(query=[0.1, 0.2]),
    array=search(query=np.zeros(2)),
    series=search(query=pd.Series(["bread"])),
    frame=search(query=pd.DataFrame({"text": ["bread"]})),
    bytes=search(query=b"bread"),
    opensearch=search_opensearch(query={"match": {"text": "bread"}}),
    langchain=lambda c: VecdbRerankCompressor(reranker=scores).compress_documents(
        [_lang_document("a")],
        ["bread"],
    ),
)
wrong(
    "k",
    text=search(k="10"),
    zero=search(k=0),
    huge=search(k=20_000),
    fraction=search(k=1.5),
    true=search(k=True),
    opensearch=search_opensearch(k="10"),
    defaults=lambda c: SearchDefaults(k="50"),
    drop_in=drop_in(k="50"),
    drop_in_zero=drop_in(k=0),
    drop_in_opensearch=lambda c: RerankingOpenSearch(c.opensearch, None, k=-1),
)
wrong(
    "limit",
    negative=search(limit=-1),
    text=search(limit="10"),
    zero=search(limit=0),
    above_k=search(k=5, limit=6),
    opensearch=search_opensearch(limit=-1),
)
wrong("offset", negative=search(offset=-1), text=search(offset="1"), true=search(offset=True))
wrong("depth", text=search(depth="5"), zero=search(depth=0))
wrong(
    "mode",
    typo=search(mode="hybird"),
    number=search(mode=1),
    opensearch=search_opensearch(mode="knn"),
)
wrong(
    "fusion",
    word=search(fusion="rrf"),
    opensearch=search_opensearch(fusion={"method": "rrf"}),
)
wrong("fusion.method", word=lambda c: Fusion("borda"))
wrong(
    "fusion.weights",
    one=lambda c: Fusion(weights=(1.0,)),
    text=lambda c: Fusion(weights="11"),
    number=lambda c: Fusion(weights=0.5),
    huge=lambda c: Fusion(weights=(10**400, 1)),
    dbsf=lambda c: Fusion("dbsf", weights=(0.3, 0.7)),
)
wrong(
    "fusion.self_retrieval",
    one=lambda c: Fusion(self_retrieval=(0.9,)),
    dbsf=lambda c: Fusion("dbsf", self_retrieval=(0.9, 0.1)),
)
wrong("fusion.branch_quality", above=lambda c: Fusion(branch_quality=(0.9, 1.1)))
wrong("policy.effort.pairs", text=lambda c: Effort(pairs="5"), zero=lambda c: Effort(pairs=0))
wrong("payload", word=search(payload="none"))
wrong(
    "query_vector",
    text=search(query_vector="bread"),
    number=search(query_vector=0.5),
    nested=search(query_vector=[[0.1, 0.2]]),
    words=search(query_vector=["a", "b"]),
    nan=search(query_vector=[float("nan"), 1.0]),
    huge=search(query_vector=[10**400] * 2),
    empty=search(query_vector=[]),
    matrix=search(query_vector=np.zeros((2, 2))),
    opensearch=search_opensearch(query_vector="bread"),
)
wrong(
    "rerank",
    word=search(rerank="no"),
    number=search(rerank=5),
    reranker=search(rerank=scores),
    drop_in=lambda c: RerankingQdrantClient(c.qdrant, scores).query_points(
        "c",
        [1.0, 0.0],
        using="dense",
        rerank="no",
    ),
    opensearch=lambda c: RerankingOpenSearch(c.opensearch, scores).search(
        body={}, index="c", rerank="no"
    ),
)
wrong(
    "rerank_query",
    vector=lambda c: RerankingQdrantClient(c.qdrant, scores).query_points(
        "c",
        [1.0, 0.0],
        using="dense",
        rerank_query=[1.0],
    ),
    block=lambda c: rerank_query(5).__enter__(),
)
wrong("explain", word=search(explain="yes"))
wrong("lmit", typo=search(lmit=5))
wrong("size", opensearch=search_opensearch(size=5))
wrong(
    "filter",
    text=search(filter="year > 3"),
    condition=search(filter={"key": "year", "match": {"value": 3}}),
    opensearch=search_opensearch(filter="year > 3"),
    opensearch_items=search_opensearch(filter=["year"]),
)
wrong("filter.must.0.mach", typo=search(filter={"must": [{"key": "a", "mach": 1}]}))
wrong("with_payload", number=search(with_payload=5))
wrong("with_vectors", text=search(with_vectors="yes"))
wrong("search_params", text=search(search_params="x"))
wrong("score_threshold", text=search(score_threshold="0.5"))
wrong(
    "body",
    text=search_opensearch(body="{}"),
    query=search_opensearch(body={"query": {}}),
)
wrong(
    "documents",
    text=add("bread"),
    none=add(None),
    one=add({"id": 1, "text": "bread"}),
    document=add(Document(1, {"text": "bread"})),
    frame=add(pd.DataFrame({"text": ["bread"]})),
    number=add(5),
)
wrong(
    "documents",
    haystack=lambda c: VecdbRerankRanker(None).run("q", "x"),
    langchain=lambda c: VecdbRerankCompressor(None).compress_documents("x", "q"),
    langchain_none=lambda c: VecdbRerankCompressor(None).compress_documents(None, "q"),
)
wrong(
    "documents[0]",
    haystack=lambda c: VecdbRerankRanker(None).run("q", [5]),
    langchain=lambda c: VecdbRerankCompressor(None).compress_documents([5], "q"),
)
wrong(
    "nodes",
    llama_index=lambda c: VecdbRerankPostprocessor(None).postprocess_nodes("x", query_str="q"),
)
wrong("documents[0].document", text=add(["bread"]), number=add([5]))
wrong("documents[0].id", fraction=add([{"id": 1.5}]), none=add([{"id": None}]))
wrong("documents[0].payload", text=add([Document(1, "bread")]))
wrong("batch_size", zero=add([], batch_size=0), text=add([], batch_size="64"))
wrong("give_up_after", text=add([], give_up_after="9"), zero=add([], give_up_after=0))
wrong("on_progress", word=add([], on_progress="print"))
wrong("on_missing_query", word=drop_in(on_missing_query="ignore"))
wrong("rerank_depth", word=drop_in(rerank_depth="deep"))
wrong(
    "model",
    none=lambda c: OnnxReranker(None),
    number=lambda c: OnnxEmbedder(5),
    folder=lambda c: OnnxReranker("./nowhere"),
    embedder_folder=lambda c: OnnxEmbedder("/no/such/folder"),
    empty=lambda c: OnnxEmbedder(""),
    cross_encoder=lambda c: CrossEncoderReranker("./nowhere"),
    cross_encoder_none=lambda c: CrossEncoderReranker(None),
    late=lambda c: LateInteractionReranker("./nowhere"),
    flag=lambda c: FlagEmbeddingReranker("./nowhere"),
    sentence=lambda c: SentenceTransformersEmbedder("./nowhere"),
    sentence_none=lambda c: SentenceTransformersEmbedder(None),
    http=lambda c: HttpReranker(NOWHERE),
    http_number=lambda c: HttpReranker(NOWHERE, model=5),
    cohere=lambda c: CohereReranker("", api_key="x"),
    cohere_none=lambda c: CohereReranker(None, api_key="x"),
)
wrong(
    "revision",
    onnx=lambda c: OnnxReranker(revision=5),
    cross_encoder=lambda c: CrossEncoderReranker(".", revision=5),
    sentence=lambda c: SentenceTransformersEmbedder(".", revision=5),
)
wrong("file", onnx=lambda c: OnnxReranker(file=5), embedder=lambda c: OnnxEmbedder(file=5))
wrong("query_prefix", onnx=lambda c: OnnxEmbedder(query_prefix=5))
wrong("ends_at", text=lambda c: Deadline("x"))
wrong("seconds", text=lambda c: Deadline.after("x"))
wrong(
    "device",
    onnx=lambda c: OnnxReranker(device="gpu"),
    embedder=lambda c: OnnxEmbedder(device="gpu"),
)
wrong(
    "max_length",
    text=lambda c: OnnxReranker(max_length="512"),
    small=lambda c: OnnxEmbedder(max_length=2),
    cross_encoder=lambda c: CrossEncoderReranker(".", max_length=0),
)
wrong("pooling", word=lambda c: OnnxEmbedder(pooling="max"))
wrong("dtype", word=lambda c: CrossEncoderReranker(".", dtype="int4"))
wrong("kind", word=lambda c: FlagEmbeddingReranker(".", kind="x"))
wrong("documents", function_embedder=lambda c: FunctionEmbedder("x"))
wrong("query", function_embedder=lambda c: FunctionEmbedder(vectors, query=5))
wrong(
    "dimension",
    text=lambda c: FunctionEmbedder(vectors, dimension="2"),
    zero=lambda c: FunctionEmbedder(vectors, dimension=0),
)
wrong("function", text=lambda c: FunctionReranker("x"))
wrong(
    "url",
    none=lambda c: HttpReranker(None),
    number=lambda c: HttpReranker(8080),
    host=lambda c: HttpReranker("localhost:8080", format="tei"),
    empty=lambda c: HttpReranker([], format="tei"),
    items=lambda c: HttpReranker([None], format="tei"),
)
wrong("format", word=lambda c: HttpReranker(NOWHERE, format="rest"))
wrong("hedge", alone=lambda c: HttpReranker(NOWHERE, format="tei", hedge=True))
wrong(
    "api_key",
    number=lambda c: HttpReranker(NOWHERE, format="tei", api_key=5),
    cohere=lambda c: CohereReranker(api_key=5),
)
wrong(
    "timeout",
    text=lambda c: HttpReranker(NOWHERE, format="tei", timeout="5"),
    cohere=lambda c: CohereReranker(api_key="x", timeout=0),
)
wrong("retries", negative=lambda c: HttpReranker(NOWHERE, format="tei", retries=-1))
wrong(
    "batch_size",
    http=lambda c: HttpReranker(NOWHERE, format="tei", batch_size="8"),
    cohere=lambda c: CohereReranker(api_key="x", batch_size=2_000),
    flag=lambda c: FlagEmbeddingReranker(".", batch_size=0),
    sentence=lambda c: SentenceTransformersEmbedder(".", batch_size=0),
)
wrong("extra_body", listed=lambda c: HttpReranker(NOWHERE, format="tei", extra_body=["a"]))
wrong(
    "verify",
    path=lambda c: HttpReranker(NOWHERE, format="tei", verify="nowhere.pem"),
    number=lambda c: HttpReranker(NOWHERE, format="tei", verify=5),
)
wrong(
    "best",
    zero=lambda c: CascadeReranker(scores, scores, best=0),
    text=lambda c: CascadeReranker(scores, scores, best="5"),
)
wrong(
    "file",
    mapping=lambda c: connect({"backend": {"type": "qdrant"}}),
    number=lambda c: connect_async(5),
)
wrong("backend", word=lambda c: connect(backend="qdrant"))
wrong("backend.type", word=lambda c: connect(backend={"type": "elastic"}))
wrong("bakend", typo=lambda c: connect(bakend={}))
wrong("expect", word=lambda c: connect(backend={"path": ":memory:"}, expect="qdrant"))
wrong(
    "connector",
    langchain=lambda c: VecdbRerankRetriever(connector=NOWHERE),
    langchain_client=lambda c: VecdbRerankRetriever(connector=c.qdrant),
    llama_index=lambda c: LlamaIndexRetriever(connector=NOWHERE),
    haystack=lambda c: HaystackRetriever(connector=NOWHERE),
)
wrong(
    "search_kwargs",
    langchain=lambda c: VecdbRerankRetriever(connector=of_qdrant(c), search_kwargs=5),
    llama_index=lambda c: LlamaIndexRetriever(of_qdrant(c), search_kwargs=5),
)
wrong("k", langchain=lambda c: VecdbRerankRetriever(connector=of_qdrant(c), k="5"))
wrong("lmit", langchain=lambda c: VecdbRerankRetriever(connector=of_qdrant(c), lmit=5))
wrong(
    "meta_fields_to_embed",
    text=lambda c: VecdbRerankRanker(meta_fields_to_embed="title"),
    number=lambda c: VecdbRerankRanker(meta_fields_to_embed=5),
)
wrong("settings", haystack=lambda c: HaystackRetriever(settings=5))
wrong(
    "top_n",
    langchain=lambda c: VecdbRerankCompressor(reranker=None, top_n="5"),
    langchain_zero=lambda c: VecdbRerankCompressor(reranker=None, top_n=0),
    llama_index=lambda c: VecdbRerankPostprocessor(reranker=None, top_n=-1),
)
wrong(
    "top_k",
    haystack=lambda c: VecdbRerankRanker(top_k="5"),
    haystack_zero=lambda c: VecdbRerankRanker(top_k=0),
)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named(
    name: str, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key, call = WRONG[name]
    with pytest.raises(ConfigurationError) as raised:
        call(clients)
    assert raised.value.key == key
    assert len(raised.value.problem) < 500
    assert not list(tmp_path.iterdir())


def test_a_collection_without_an_embedder_is_one_for_bm25(clients: Clients) -> None:
    with pytest.raises(ConfigurationError, match='dense_vector="none"'):
        of_qdrant(clients, embedder=None).create()
    words = QdrantConnector(
        clients.qdrant, "words", embedder=None, reranker=None, dense_vector="none"
    )
    assert words.create()


def test_there_are_wrong_arguments_enough() -> None:
    assert len(WRONG) >= 150


@pytest.mark.parametrize("options", [{"k": "10"}, {"limit": -1}, {"query_vector": "x"}])
async def test_asynchronous_searches_name_them_too(options: Any, clients: Clients) -> None:
    connector = AsyncOpenSearchConnector(clients.async_opensearch, "c", **LIGHT)
    with pytest.raises(ConfigurationError) as raised:
        await connector.search("bread", **options)
    assert raised.value.key in options
