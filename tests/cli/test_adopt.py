"""``adopt`` on collections as frameworks, tutorials and people make them."""

from __future__ import annotations

import json
import logging
import os
import socket
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from haystack import Document as HaystackDocument
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from langchain_community.vectorstores import OpenSearchVectorSearch
from langchain_qdrant import QdrantVectorStore
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import Document as LlamaDocument
from llama_index.vector_stores.opensearch import OpensearchVectorClient, OpensearchVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaQdrant
from opensearchpy import OpenSearch
from qdrant_client import QdrantClient, models
from typer.testing import CliRunner, Result

from tests.embedders.embed_server import answer
from tests.scripted_server import Answer, Body, scripted_server
from vecdb_rerank.cli import adopt
from vecdb_rerank.cli.app import app
from vecdb_rerank.config.settings import ENV_PREFIX
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings
from vecdb_rerank.integrations.llama_index import VecdbRerankEmbedding
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import Bm25, QdrantConnector

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:Parameter \[index\] has no effect"),
]
TEXTS = [
    "To undo the last commit and keep its changes, run git reset with the option soft.",
    "Honey bees tell each other by a dance where the flowers are.",
    "Bread needs flour, water, salt and yeast, and an hour in a warm place.",
    "A time zone is a region that keeps the same clock; daylight saving shifts it by an hour.",
    "The heart pumps blood through the lungs, where it takes up oxygen.",
    "A container image is a stack of layers; each instruction adds one.",
]
TITLES = ["Undo a commit", "The dance of bees", "Bread", "Time zones", "The heart", "Images"]
QUERY = "how do insects show the way to food?"
ANSWER = "Honey bees"
DENSE = models.VectorParams(size=384, distance=models.Distance.COSINE)
KNN: dict[str, Any] = {
    "type": "knn_vector",
    "dimension": 384,
    "method": {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"},
}


@dataclass(frozen=True)
class Place:
    """Where a collection is made, and the options of ``adopt`` that lead there."""

    url: str
    name: str
    embedder: OnnxEmbedder

    def qdrant(self) -> QdrantClient:
        return QdrantClient(path="db")

    def opensearch(self) -> OpenSearch:
        return OpenSearch(self.url)

    def vectors(self, texts: Sequence[str] = TEXTS) -> list[list[float]]:
        return [[float(x) for x in vector] for vector in self.embedder.embed_documents(texts)]

    def options(self, kind: str) -> list[str]:
        return ["--path", "db"] if kind == "qdrant" else ["--url", self.url]


@pytest.fixture(scope="session")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def place(request: pytest.FixtureRequest, embedder: OnnxEmbedder) -> Iterator[Place]:
    """A place for a collection of the test's kind; what is on a server is deleted in the end."""
    served = "opensearch" in str(request.node.name)
    url = request.getfixturevalue("opensearch_url") if served else ""
    found = Place(url, new_name(), embedder)
    yield found
    if served:
        with OpenSearch(url) as client:
            client.indices.delete(index=f"{found.name}*", ignore=[404])


def run(*arguments: str) -> Result:
    """Run the command in this process, without a terminal."""
    return CliRunner().invoke(app, arguments)


def done(*arguments: str) -> str:
    ended = run(*arguments)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    return ended.output


def refused(*arguments: str) -> ConfigurationError:
    error = run(*arguments).exception
    assert isinstance(error, ConfigurationError), error
    return error


def settings() -> dict[str, Any]:
    return tomllib.loads(Path("vecdb_rerank.toml").read_text(encoding="utf-8"))


# -- collections of frameworks


def langchain_qdrant(place: Place) -> None:
    embeddings = VecdbRerankEmbeddings(place.embedder)
    metadata = [{"source": f"{n}.md", "page": n} for n in range(len(TEXTS))]
    store = QdrantVectorStore.from_texts(
        TEXTS, embeddings, metadata, path="db", collection_name=place.name
    )
    store.client.close()


def langchain_opensearch(place: Place) -> None:
    embeddings = VecdbRerankEmbeddings(place.embedder)
    OpenSearchVectorSearch.from_texts(
        TEXTS,
        embeddings,
        [{"source": f"{n}.md"} for n in range(len(TEXTS))],
        opensearch_url=place.url,
        index_name=place.name,
        engine="lucene",
    )


def llama_documents() -> list[LlamaDocument]:
    return [
        LlamaDocument(text=text, metadata={"file_name": f"{n}.md", "author": "Jane Doe"})
        for n, text in enumerate(TEXTS)
    ]


def llama_index_qdrant(place: Place) -> None:
    with closing(place.qdrant()) as client:
        store = LlamaQdrant(place.name, client=client)
        VectorStoreIndex.from_documents(
            llama_documents(),
            StorageContext.from_defaults(vector_store=store),
            embed_model=VecdbRerankEmbedding(embedder=place.embedder),
        )


def llama_index_opensearch(place: Place) -> None:
    client = OpensearchVectorClient(place.url, place.name, 384, engine="lucene")
    VectorStoreIndex.from_documents(
        llama_documents(),
        StorageContext.from_defaults(vector_store=OpensearchVectorStore(client)),
        embed_model=VecdbRerankEmbedding(embedder=place.embedder),
    )


def haystack_documents(place: Place) -> list[HaystackDocument]:
    return [
        HaystackDocument(content=text, embedding=vector, meta={"file_path": f"docs/{n}.md"})
        for n, (text, vector) in enumerate(zip(TEXTS, place.vectors(), strict=True))
    ]


def haystack_qdrant(place: Place) -> None:
    store = QdrantDocumentStore(path="db", index=place.name, embedding_dim=384)
    store.write_documents(haystack_documents(place))
    assert store._client is not None
    store._client.close()


def haystack_opensearch(place: Place) -> None:
    store = OpenSearchDocumentStore(
        hosts=place.url, index=place.name, embedding_dim=384, method=KNN["method"]
    )
    store.write_documents(haystack_documents(place))


# -- by hand, and by the steps of tutorials


def bare_qdrant(place: Place) -> None:
    """Vectors without a name, texts in the payload."""
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config=DENSE)
        client.upload_points(
            place.name,
            (
                models.PointStruct(id=n, vector=vector, payload={"title": title, "body": text})
                for n, (title, text, vector) in enumerate(
                    zip(TITLES, TEXTS, place.vectors(), strict=True)
                )
            ),
        )


def tutorial_qdrant(place: Place) -> None:
    """A collection of books: a name, a description, an author and a year each."""
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config={"description": DENSE})
        payloads = [
            {"name": title, "description": text, "author": "J. Doe", "year": 1990 + n}
            for n, (title, text) in enumerate(zip(TITLES, TEXTS, strict=True))
        ]
        points = [
            models.PointStruct(id=n, vector={"description": vector}, payload=payload)
            for n, (payload, vector) in enumerate(zip(payloads, place.vectors(), strict=True))
        ]
        client.upsert(place.name, points)


def indexed(client: OpenSearch, index: str, documents: Sequence[Mapping[str, Any]]) -> None:
    lines: list[Mapping[str, Any]] = []
    for n, document in enumerate(documents):
        lines += [{"index": {"_index": index, "_id": str(n)}}, document]
    client.bulk(body=lines, refresh=True)


def tutorial_opensearch(place: Place) -> None:
    """An index for semantic search: a text field and a knn_vector field."""
    with place.opensearch() as client:
        properties = {"id": {"type": "text"}, "passage_embedding": KNN, "text": {"type": "text"}}
        body = {"settings": {"index.knn": True}, "mappings": {"properties": properties}}
        client.indices.create(index=place.name, body=body)
        vectors = place.vectors()
        indexed(
            client,
            place.name,
            [
                {"id": f"s{n}.jpg", "text": text, "passage_embedding": vector}
                for n, (text, vector) in enumerate(zip(TEXTS, vectors, strict=True))
            ],
        )


def plain_opensearch(place: Place) -> None:
    """An index for full-text search, mapped by its first document."""
    with place.opensearch() as client:
        documents = [
            {"title": title, "content": text, "tags": ["a", "b"]}
            for title, text in zip(TITLES, TEXTS, strict=True)
        ]
        indexed(client, place.name, documents)


MADE: Mapping[Callable[[Place], None], Mapping[str, Any]] = {
    langchain_qdrant: {"dense_vector": "", "bm25_vector": "none", "fields": ["page_content"]},
    langchain_opensearch: {"dense_vector": "vector_field", "bm25_fields": ["text"]},
    llama_index_qdrant: {"bm25_vector": "none", "fields": ["_node_content.text"]},
    llama_index_opensearch: {"dense_vector": "embedding", "bm25_fields": ["content"]},
    haystack_qdrant: {"bm25_vector": "none", "fields": ["content"]},
    haystack_opensearch: {"dense_vector": "embedding", "bm25_fields": ["content"]},
    bare_qdrant: {"dense_vector": "", "bm25_vector": "none", "fields": ["title", "body"]},
    tutorial_qdrant: {"dense_vector": "description", "fields": ["name", "description"]},
    tutorial_opensearch: {"dense_vector": "passage_embedding", "bm25_fields": ["text"]},
    plain_opensearch: {"dense_vector": "none", "bm25_fields": ["title", "content"]},
}


@pytest.mark.parametrize("make", MADE, ids=[make.__name__ for make in MADE])
def test_a_collection_is_adopted_searched_and_checked(
    make: Callable[[Place], None], place: Place
) -> None:
    make(place)
    kind = make.__name__.rpartition("_")[2]
    done("adopt", place.name, *place.options(kind))
    written = settings()
    expected = dict(MADE[make])
    if "fields" in expected:
        assert written["text_fields"]["fields"] == expected.pop("fields")
    assert {key: written["backend"][key] for key in expected} == expected
    found = json.loads(done("search", QUERY if make is not plain_opensearch else "bees", "--json"))
    first = found["points"][0]["payload"] if kind == "qdrant" else found["hits"]["hits"][0]
    assert ANSWER in json.dumps(first)
    done("doctor")


# -- what it asks, and what it never does


def other_vectors(place: Place) -> None:
    """A collection whose vectors no model at hand made."""
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config=DENSE)
        points = [
            models.PointStruct(id=n, vector=vector, payload={"page_content": text})
            for n, (text, vector) in enumerate(zip(TEXTS, place.vectors(TEXTS[::-1]), strict=True))
        ]
        client.upsert(place.name, points)


def test_vectors_of_another_model_need_an_answer(place: Place) -> None:
    other_vectors(place)
    error = refused("adopt", place.name, "--path", "db")
    assert error.key == "--embedder"
    assert "all-MiniLM" in error.problem
    assert not Path("vecdb_rerank.toml").exists()


def test_vectors_that_find_nothing_get_no_weight(place: Place) -> None:
    words = iter(range(1000, 2000))
    sentences = [" ".join(f"word{next(words)}" for _ in range(5)) for _ in range(60)]
    texts = [". ".join(sentences[5 * n : 5 * n + 5]) for n in range(12)]
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config=DENSE)
        vectors = place.vectors([text[::-1] for text in texts])
        points = [
            models.PointStruct(id=n, vector=vector, payload={"page_content": text})
            for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
        ]
        client.upsert(place.name, points)
    done("adopt", place.name, "--path", "db", "--embedder", "bundled", "--create-text-index")
    bm25, dense = settings()["search"]["fusion"]["self_retrieval"]
    assert bm25 > 2 * dense
    assert "dense 0%" in done("search", sentences[7])


def test_a_text_index_is_created_if_it_is_asked_for(place: Place) -> None:
    other_vectors(place)
    done("adopt", place.name, "--path", "db", "--create-text-index")
    written = settings()
    assert written["backend"]["text_index"] == "page_content"
    assert written["embedder"]["type"] == "none"
    assert ANSWER in done("search", "dance of bees")
    assert "stem" in done("doctor")


def test_the_doctor_creates_the_text_index_of_the_configuration(place: Place) -> None:
    langchain_qdrant(place)
    done("adopt", place.name, "--path", "db")
    assert "text_index" in done("doctor")
    assert "page_content" in str(run("doctor", "--create-text-index").exception)
    file = Path("vecdb_rerank.toml")
    text = file.read_text(encoding="utf-8").replace('bm25_vector = "none"', "")
    file.write_text(text.replace("# text_index", "text_index"), encoding="utf-8")
    assert run("doctor").exit_code == 1
    assert "created" in run("doctor", "--create-text-index").stderr
    assert ANSWER in done("search", "bees", "--mode", "bm25")


def test_a_text_index_is_created_for_vectors_of_a_known_model(place: Place) -> None:
    bare_qdrant(place)
    done("adopt", place.name, "--path", "db", "--create-text-index")
    backend = settings()["backend"]
    assert (backend["text_index"], settings()["embedder"]["model"]) == ("body", "bundled")
    assert ANSWER in done("search", "bees", "--mode", "bm25")


def test_vectors_of_more_text_are_likely_and_not_proven(place: Place) -> None:
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config=DENSE)
        around = [f"Chapter 3 of the handbook of everything. {text}" for text in TEXTS]
        points = [
            models.PointStruct(id=n, vector=vector, payload={"text": text})
            for n, (text, vector) in enumerate(zip(TEXTS, place.vectors(around), strict=True))
        ]
        client.upsert(place.name, points)
    error = refused("adopt", place.name, "--path", "db")
    assert (error.key, "bundled" in error.problem) == ("--embedder", True)
    done("adopt", place.name, "--path", "db", "--embedder", "bundled")
    assert "not proven" in Path("vecdb_rerank.toml").read_text(encoding="utf-8")
    assert ANSWER in done("search", QUERY)


def test_of_several_vectors_the_proven_one_is_searched(place: Place) -> None:
    far = models.VectorParams(size=384, distance=models.Distance.EUCLID)
    with closing(place.qdrant()) as client:
        config = {"first": DENSE, "second": DENSE, "small": far}
        client.create_collection(place.name, vectors_config=config)
        made, others = place.vectors(), place.vectors(TEXTS[::-1])
        points = [
            models.PointStruct(
                id=n,
                vector={"first": others[n], "second": made[n], "small": made[n]},
                payload={"text": text},
            )
            for n, text in enumerate(TEXTS)
        ]
        client.upsert(place.name, points)
    done("adopt", place.name, "--path", "db")
    assert settings()["backend"]["dense_vector"] == "second"
    options = ("--path", "db", "--out", "other.toml", "--embedder", "none")
    assert refused("adopt", place.name, *options).key == "--dense-vector"


def test_bm25_vectors_and_their_language_are_recognised(place: Place) -> None:
    texts = [
        "Die Katze schläft den ganzen Tag in der Sonne, weil sie müde ist.",
        "Brot braucht Mehl, Wasser und Salz und eine Stunde Ruhe an einem warmen Ort.",
    ]
    with closing(QdrantConnector(place.qdrant(), place.name, bm25=Bm25(language="german"))) as made:
        made.create()
        made.add([{"id": n, "text": text} for n, text in enumerate(texts)])
        made.client.close()
    done("adopt", place.name, "--path", "db")
    backend = settings()["backend"]
    assert (backend["bm25_vector"], backend["language"]) == ("bm25", "german")
    assert "Katze" in done("search", "schlafende Katzen")


@pytest.mark.parametrize("usual", [384, 512])
def test_a_service_is_compared_if_it_is_named(
    usual: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(body: Body) -> Answer:
        if body.get("dimensions", usual) != 384:
            return answer("openai", [[1.0] * 512] * len(body["input"]))
        return answer("openai", place.vectors(body["input"]))

    bare_qdrant(place)
    with scripted_server(script) as server:
        monkeypatch.setenv(f"{ENV_PREFIX}EMBEDDER__URL", server.url)
        monkeypatch.setenv(f"{ENV_PREFIX}EMBEDDER__API_KEY", "k")
        done("adopt", place.name, "--path", "db", "--embedder", "openai:m", "--query", QUERY)
        assert all(head["authorization"] == "Bearer k" for head in server.heads)
    written = settings()["embedder"]
    dimensions = {} if usual == 384 else {"dimensions": 384}
    assert written == {"type": "openai", "model": "m", **dimensions}
    assert "api_key" not in Path("vecdb_rerank.toml").read_text(encoding="utf-8")


def test_the_usual_services_are_named_as_the_option_takes_them(place: Place) -> None:
    with closing(place.qdrant()) as client:
        params = models.VectorParams(size=1536, distance=models.Distance.COSINE)
        client.create_collection(place.name, vectors_config=params)
        point = models.PointStruct(id=1, vector=[1.0] * 1536, payload={"text": TEXTS[0]})
        client.upsert(place.name, [point])
    done("adopt", place.name, "--path", "db", "--create-text-index")
    text = Path("vecdb_rerank.toml").read_text(encoding="utf-8")
    assert "openai:text-embedding-3-small" in text


def test_what_is_missing_is_named(place: Place) -> None:
    assert refused("adopt", "--path", "db").key == "--path"
    assert not Path("db").exists()
    assert refused("adopt", "x").key == "backend.path"
    assert not Path(".vecdb_rerank").exists()
    Path("db").mkdir()
    assert refused("adopt", "x", "--path", "db").key == "backend.path"
    assert not list(Path("db").iterdir())
    place.qdrant().close()
    assert refused("adopt", "--path", "db").key == "COLLECTION"
    bare_qdrant(place)
    with closing(place.qdrant()) as client:
        client.create_collection("empty", vectors_config=DENSE)
    error = refused("adopt", "--path", "db")
    assert (error.key, place.name in error.problem) == ("COLLECTION", True)
    assert refused("adopt", "empty", "--path", "db").key == "COLLECTION"
    options = ("adopt", place.name, "--path", "db")
    assert refused(*options, "--embedder", "http:x").key == "--embedder"
    assert refused(*options, "--dense-vector", "other").key == "--dense-vector"
    assert refused(*options, "--language", "klingon").key == "language"
    error = refused("adopt", place.name.upper(), "--path", "db")
    assert (error.key, place.name in error.problem) == ("COLLECTION", True)
    assert refused("adopt", "--url", "http://127.0.0.1:1").key == "--url"
    for url in (
        "http://user:secret@127.0.0.1:1",
        "http://x y",
        "http://[bad",
        "http://h:99999",
        "",
    ):
        assert refused("adopt", "--url", url).key == "--url"
    Path("vecdb_rerank.toml").write_text("# mine", encoding="utf-8")
    assert refused(*options).key == "--out"
    assert Path("vecdb_rerank.toml").read_text(encoding="utf-8") == "# mine"


MANY = DENSE.model_copy(
    update={
        "multivector_config": models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        )
    }
)
ENGLISH = {"text": TEXTS[0]}
JAPANESE = {"text": "猫は一日中、日の当たる場所で眠っています。とても疲れているからです。"}


@pytest.mark.parametrize(
    ("vectors", "payload", "options", "key"),
    [
        ({"many": MANY}, ENGLISH, (), "--create-text-index"),
        ({"many": MANY}, ENGLISH, ("--embedder", "bundled"), "--embedder"),
        ({}, ENGLISH, (), "--create-text-index"),
        ({}, JAPANESE, (), "COLLECTION"),
        ({}, JAPANESE, ("--create-text-index",), "COLLECTION"),
        ({"dense": DENSE}, {}, (), "COLLECTION"),
        ({"dense": DENSE}, {"n": 5}, (), "--text-field"),
        ({"dense": DENSE}, ENGLISH, (), "--embedder"),
        ({"dense": DENSE}, ENGLISH, ("--embedder", "none"), "--create-text-index"),
        ({"dense": DENSE}, ENGLISH, ("--dense-vector", "none"), "--create-text-index"),
        ({"dense": DENSE}, JAPANESE, ("--embedder", "none"), "--embedder"),
        ({"dense": DENSE}, JAPANESE, ("--dense-vector", "none"), "--dense-vector"),
    ],
)
def test_what_cannot_be_searched_names_the_option_that_helps(
    place: Place,
    vectors: Mapping[str, models.VectorParams],
    payload: Mapping[str, Any],
    options: Sequence[str],
    key: str,
) -> None:
    with closing(place.qdrant()) as client:
        client.create_collection(place.name, vectors_config=vectors)
        client.upsert(place.name, [models.PointStruct(id=1, vector={}, payload=dict(payload))])
    assert refused("adopt", place.name, "--path", "db", *options).key == key
    assert not Path("vecdb_rerank.toml").exists()


def test_an_index_of_keywords_cannot_be_searched_on_opensearch(place: Place) -> None:
    with place.opensearch() as client:
        mapping = {"mappings": {"properties": {"text": {"type": "keyword"}}}}
        client.indices.create(index=place.name, body=mapping)
        indexed(client, place.name, [ENGLISH])
    assert refused("adopt", place.name, "--url", place.url).key == "COLLECTION"


def test_a_server_that_speaks_no_http_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        answered = pool.submit(answer)
        host, port = server.getsockname()
        error = refused("adopt", "--url", f"{host}:{port}")
        answered.result()
    assert error.key == "--backend"


def test_a_terminal_is_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    other_vectors(place)
    monkeypatch.setattr(adopt, "is_interactive", lambda: True)
    ended = CliRunner().invoke(
        app, ["adopt", place.name, "--path", "db"], input="--create-text-index\n"
    )
    assert ended.exit_code == 0, (ended.output, ended.exception)
    assert settings()["backend"]["text_index"] == "page_content"


def test_an_index_of_opensearch_is_only_read(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    tutorial_opensearch(place)
    caplog.clear()
    with caplog.at_level(logging.INFO, "opensearch"):
        done("adopt", place.name, "--url", place.url)
    calls = [record.getMessage().split()[:2] for record in caplog.records]
    posted = [url.partition("?")[0] for method, url in calls if method == "POST"]
    assert {method for method, _ in calls} <= {"GET", "HEAD", "POST"}
    assert {url.rpartition("/")[2] for url in posted} <= {"_search", "_msearch", "_count"}


def test_the_doctor_proposes_the_language_of_the_texts(place: Place) -> None:
    texts = ["Die Katze schläft den ganzen Tag.", "Das Brot ruht eine Stunde an einem warmen Ort."]
    with closing(QdrantConnector(place.qdrant(), "documents", close_client=True)) as made:
        made.create()
        made.add([{"id": n, "text": text} for n, text in enumerate(texts)])
    Path("vecdb_rerank.toml").write_text('[backend]\npath = "db"\n', encoding="utf-8")
    ended = run("doctor")
    assert ended.exit_code == 1
    assert "german" in ended.output
