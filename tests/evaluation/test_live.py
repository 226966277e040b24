"""Judged queries on collections that another framework made: they are searched, never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_community.vectorstores import OpenSearchVectorSearch
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from opensearchpy import OpenSearch, OpenSearchException
from qdrant_client import QdrantClient
from typer.testing import CliRunner, Result

from vecdb_rerank import OnnxEmbedder, connect
from vecdb_rerank.cli.app import app, run
from vecdb_rerank.config.loading import DEFAULT_FILE, load
from vecdb_rerank.config.settings import ENV_PREFIX
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import datasets, live
from vecdb_rerank.evaluation.connector import evaluated_connector
from vecdb_rerank.evaluation.document_ids import DocumentIds
from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings
from vecdb_rerank.testing import CORPUS, QUERIES
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant.bm25 import Bm25

TEXTS = [str(document["text"]) for document in CORPUS]
METADATA = [{"subject": d["subject"], "number": d["number"]} for d in CORPUS]
JUDGED = ("bread", "sailing", "bees")
RERANKER = "[reranker]\nmax_length = 32\n"


class Bm25Embeddings(SparseEmbeddings):
    """This package's BM25, as LangChain takes it."""

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [self._plain(Bm25().document(text)) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        return self._plain(Bm25().query(text))

    def _plain(self, vector: Any) -> SparseVector:
        return SparseVector(indices=vector.indices, values=vector.values)


@dataclass(frozen=True)
class Store:
    """A collection of LangChain's with its configuration; ``state`` is all that is stored."""

    config: str
    filter: object
    state: Callable[[], object]


@pytest.fixture(scope="module")
def qdrant_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("qdrant") / "store"
    store = QdrantVectorStore.from_texts(
        TEXTS,
        VecdbRerankEmbeddings(OnnxEmbedder()),
        METADATA,
        path=str(path),
        collection_name="chunks",
        sparse_embedding=Bm25Embeddings(),
        retrieval_mode=RetrievalMode.HYBRID,
    )
    store.client.close()

    def state() -> object:
        client = QdrantClient(path=str(path))
        try:
            info = client.get_collection("chunks").model_dump()
            points, _ = client.scroll("chunks", limit=100, with_vectors=True)
            return info, [point.model_dump() for point in points]
        finally:
            client.close()

    config = (
        f'[backend]\npath = "{path}"\ncollection = "chunks"\ndense_vector = ""\n'
        'bm25_vector = "langchain-sparse"\n[text_fields]\nfields = ["page_content"]\n'
    )
    few = {"must": [{"key": "metadata.number", "range": {"lt": 4}}]}
    return Store(config, few, state)


@pytest.fixture(scope="module")
def opensearch_store(opensearch_url: str) -> Iterator[Store]:
    """An index that refuses to be written to."""
    index = new_name()
    store = OpenSearchVectorSearch.from_texts(
        TEXTS,
        VecdbRerankEmbeddings(OnnxEmbedder()),
        METADATA,
        opensearch_url=opensearch_url,
        index_name=index,
        engine="lucene",
        space_type="cosinesimil",
    )
    store.client.close()
    with OpenSearch(opensearch_url) as client:
        client.indices.put_settings(index=index, body={"index.blocks.write": True})
        with pytest.raises(OpenSearchException):
            client.index(index=index, body={"text": "new"})

        def state() -> object:
            stats = client.indices.stats(index=index)["indices"][index]["primaries"]
            everything = client.indices.get(index="_all")
            prefix, own = new_name().split("-")[0], index.rpartition("-")[0]
            return (
                # Other test processes use the same node.
                sorted(n for n in everything if n.startswith(own) or not n.startswith(prefix)),
                client.indices.get_settings(index=index),
                client.indices.get_mapping(index=index),
                client.count(index=index)["count"],
                stats["indexing"]["index_total"],
                stats["docs"],
            )

        config = (
            f'[backend]\ntype = "opensearch"\nurl = "{opensearch_url}"\ncollection = "{index}"\n'
            'dense_vector = "vector_field"\nbm25_fields = ["text"]\n'
            '[text_fields]\nfields = ["text"]\n'
        )
        yield Store(config, {"range": {"metadata.number": {"lt": 4}}}, state)
        client.indices.delete(index=index)


@pytest.fixture(params=["qdrant", "opensearch"])
def store(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries as JSON lines with filters, and judgments of their subjects as CSV."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    rows = [f"{subject},{subject},1" for subject in JUDGED]
    Path("judgments.csv").write_text("\n".join(["query,docid,rating", *rows, "tax,tax,0\n"]))


def write_queries(store: Store) -> None:
    Path(DEFAULT_FILE).write_text(f"{store.config}{RERANKER}", encoding="utf-8")
    lines = [
        {"_id": subject, "text": text, "filter": store.filter, "class": "short"}
        for subject, text in QUERIES.items()
    ]
    Path("queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def invoke(*command: str) -> Result:
    return CliRunner().invoke(app, [*command], catch_exceptions=False)


QUESTIONS = ("--queries-file", "queries.jsonl", "--qrels", "judgments.csv")
CHUNKS = ("--judge-by", "metadata.subject")


def test_a_collection_is_evaluated_and_stays_as_it_was(store: Store) -> None:
    write_queries(store)
    before = store.state()
    ended = invoke("evaluate", *QUESTIONS, *CHUNKS, "--k", "30", "--json", "result.json")
    assert ended.exit_code == 0, ended.output
    result = json.loads(Path("result.json").read_text())
    assert (result["documents"], result["queries"]) == (len(CORPUS), len(JUDGED))
    assert next(iter(result["stages"])) == "bm25"
    # All four chunks of a subject that the filter leaves count as one document.
    assert result["stages"]["hybrid+rerank"]["ndcg@10"] > 0.9
    for said in ("have no judgment", "have no relevant document"):
        assert said in " ".join(ended.stderr.split())

    ended = invoke("tune", *QUESTIONS, *CHUNKS, "--max-k", "20", "--folds", "2", "--json", "-")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["queries"] == len(JUDGED)
    ended = invoke("doctor", *QUESTIONS, *CHUNKS)
    assert "depth" in ended.stdout
    ended = invoke("calibrate", *QUESTIONS, *CHUNKS, "--k", "30")
    assert ended.exit_code == 0, ended.output
    assert "slope" in ended.stdout
    assert store.state() == before


def test_filters_decide_what_is_found(store: Store) -> None:
    write_queries(store)
    dataset = datasets.live(
        "chunks",
        queries=Path("queries.jsonl"),
        qrels=Path("judgments.csv"),
        ids=DocumentIds("metadata.subject", chunks=True),
    )
    with evaluated_connector(load().settings, dataset, lambda *_: None) as connector:
        response = connector.search("bread", k=40, limit=40, filter=dataset.info["bread"].filter)
        found = connector.candidates(response)
    assert {candidate.payload["metadata"]["number"] for candidate in found} == {0, 1, 2, 3}


def test_what_the_collection_lacks_is_said(store: Store) -> None:
    write_queries(store)
    with Path("judgments.csv").open("a") as file:
        file.write("bread,Bees,1\nbread,cake,1\n")
    ended = invoke("evaluate", *QUESTIONS, *CHUNKS, "--modes", "bm25", "--json", "-")
    assert ended.exit_code == 0, ended.output
    said = " ".join(ended.stderr.split())
    assert "2 of 5 judged documents" in said
    assert "judgments.csv:6" in said
    assert "'bees'" in said


@pytest.mark.parametrize("backend", ["qdrant", "opensearch"])
def test_the_documents_own_ids_are_compared(backend: str, request: pytest.FixtureRequest) -> None:
    name = new_name()
    config = f'[backend]\ntype = "qdrant"\npath = "own"\ncollection = "{name}"\n'
    if backend == "opensearch":
        url = request.getfixturevalue("opensearch_url")
        config = f'[backend]\ntype = "opensearch"\nurl = "{url}"\ncollection = "{name}"\n'
    Path(DEFAULT_FILE).write_text(f'{config}[embedder]\ntype = "none"\n[search]\nmode = "bm25"\n')
    documents: list[dict[str, Any]] = [{"_id": 7, "text": "seven"}, {"_id": "d-8", "text": "eight"}]
    rows = ["query,docid,rating", "seven,7,1", "seven,D-8,1", "eight,d-8,1", "eight,9,0"]
    Path("judged.csv").write_text("\n".join(rows))
    with connect() as connector:
        connector.create()
        connector.add(documents)
        try:
            dataset = datasets.live(name, qrels=Path("judged.csv"))
            [note] = live.check(connector.store, dataset)
            assert "2 of 4" in note
            assert "judged.csv:3" in note
            assert "'d-8'" in note
            assert live.count(connector.store) == len(documents)
        finally:
            connector.delete()


@pytest.mark.parametrize(
    ("options", "key", "word"),
    [
        (("--judge-by", "metadata.topic"), "--judge-by", "metadata.subject"),
        (("--id-field", "metadata.subject"), "--id-field", "--judge-by"),
        ((), "qrels", "--id-field"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    store: Store,
    options: tuple[str, ...],
    key: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_queries(store)
    arguments = ["vecdb-rerank", "evaluate", *QUESTIONS, *options, "--modes", "bm25"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        run()
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert line.startswith(f"error: {key}: ")
    assert word in line


def test_a_wrong_filter_names_its_query(qdrant_store: Store) -> None:
    write_queries(qdrant_store)
    Path("queries.jsonl").write_text('{"_id": "bread", "text": "rise", "filter": {"mist": []}}')
    with pytest.raises(ConfigurationError, match="filter") as caught:
        invoke("evaluate", *QUESTIONS, *CHUNKS, "--modes", "bm25")
    assert "bread" in caught.value.key


def test_queries_come_from_judgments_that_hold_their_texts(qdrant_store: Store) -> None:
    write_queries(qdrant_store)
    rows = [f"{QUERIES[subject]},{subject},3\r\n" for subject in JUDGED]
    Path("quepid.csv").write_bytes(("\ufeffquery,docid,rating\r\n" + "".join(rows)).encode())
    options = ("--qrels", "quepid.csv", *CHUNKS, "--modes", "bm25", "--json", "-")
    ended = invoke("evaluate", *options)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["stages"]["bm25"]["mrr@10"] == 1.0


def test_a_folder_needs_no_corpus_for_a_collection(qdrant_store: Store) -> None:
    write_queries(qdrant_store)
    folder = Path("judged")
    folder.mkdir()
    Path("queries.jsonl").rename(folder / "queries.jsonl")
    (folder / "qrels.tsv").write_text("bread\tbread\t1\n")
    options = ("--collection", "chunks", *CHUNKS, "--modes", "bm25", "--json", "-")
    ended = invoke("evaluate", "judged", *options)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["dataset"] == "chunks"
    with pytest.raises(ConfigurationError) as caught:
        invoke("evaluate")
    assert caught.value.key == "DIR"
