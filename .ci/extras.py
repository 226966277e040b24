"""Check an environment with one extra installed (its name is the argument, or "-" for none).

Every use below is tried. The extra's own must work. Any other either works, since extras share
libraries, or raises `MissingDependencyError`, which names the extra to install.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, metadata
from importlib.metadata import files as installed_files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from vecdb_rerank import (
    Deadline,
    FunctionEmbedder,
    MissingDependencyError,
    RerankError,
    Scores,
    VecdbRerankError,
)
from vecdb_rerank._optional import require

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported
NOWHERE = "http://127.0.0.1:9"  # the discard service's port: nothing listens there
# Unions of other extras, and extras for developers.
NOT_USED_ALONE = {"all", "bench", "dev", "docs", "train"}


def qdrant() -> None:
    from qdrant_client import QdrantClient

    from vecdb_rerank_qdrant import QdrantConnector

    client = QdrantClient(":memory:")
    connector = QdrantConnector(client, "c", embedder=_embedder(), reranker=None)
    connector.create()
    connector.add([{"id": 1, "text": "one"}, {"id": 2, "text": "two"}])
    assert [point.id for point in connector.search("two", mode="bm25").points] == [2]
    connector.close()


def opensearch() -> None:
    from opensearchpy import OpenSearch

    from vecdb_rerank_opensearch import OpenSearchConnector

    client = OpenSearch(NOWHERE, max_retries=0)
    connector = OpenSearchConnector(client, "c", embedder=_embedder(), reranker=None)
    _fails(lambda: connector.search("one"), VecdbRerankError, "cannot be reached")


def onnx() -> None:
    from vecdb_rerank import OnnxReranker

    with TemporaryDirectory() as folder:
        for name in ("model.onnx", "tokenizer.json"):
            Path(folder, name).write_text("{}")
        reranker = OnnxReranker(folder)
        _fails(lambda: reranker.score("q", ["d"], deadline=Deadline()), VecdbRerankError, folder)


def offline() -> None:
    from vecdb_rerank import OnnxEmbedder, OnnxReranker

    assert len(OnnxEmbedder().embed_query("one")) == 384
    scores = OnnxReranker().score("one", ["one", "two"], deadline=Deadline())
    assert len(scores.raw) == 2


def http() -> None:
    from vecdb_rerank import EmbedderError, HttpReranker, LlmReranker, TeiEmbedder

    reranker = HttpReranker(NOWHERE, format="tei", retries=0)
    _fails(lambda: reranker.score("q", ["d"], deadline=Deadline()), RerankError, "reached")
    llm = LlmReranker(NOWHERE, model="m", retries=0)
    _fails(lambda: llm.score("q", ["d"], deadline=Deadline()), RerankError, "reached")
    embedder = TeiEmbedder(url=NOWHERE, retries=0)
    _fails(lambda: embedder.embed_query("q"), EmbedderError, "reached")


def cohere() -> None:
    from vecdb_rerank import CohereReranker

    reranker = CohereReranker(api_key="none", base_url=NOWHERE, retries=0)
    _fails(lambda: reranker.score("q", ["d"], deadline=Deadline()), RerankError, "reached")


def sentence_transformers() -> None:
    from vecdb_rerank import SentenceTransformersEmbedder

    _fails(lambda: SentenceTransformersEmbedder("./nowhere"), VecdbRerankError, "nowhere")


def torch() -> None:
    from vecdb_rerank import CrossEncoderReranker, TorchEmbedder

    _fails(
        lambda: CrossEncoderReranker("./nowhere").score("q", ["d"], deadline=Deadline()),
        VecdbRerankError,
        "nowhere",
    )
    _fails(lambda: TorchEmbedder("./nowhere"), VecdbRerankError, "nowhere")


def flagembedding() -> None:
    from vecdb_rerank import FlagEmbeddingReranker

    _fails(
        lambda: FlagEmbeddingReranker("./nowhere").score("q", ["d"], deadline=Deadline()),
        VecdbRerankError,
        "nowhere",
    )


def langchain() -> None:
    from vecdb_rerank.integrations.langchain import VecdbRerankCompressor

    assert VecdbRerankCompressor(reranker=_Reranker()).compress_documents([], "q") == []


def llama_index() -> None:
    from vecdb_rerank.integrations.llama_index import VecdbRerankPostprocessor

    postprocessor = VecdbRerankPostprocessor(reranker=_Reranker())
    assert postprocessor.postprocess_nodes([], query_str="q") == []


def haystack() -> None:
    from vecdb_rerank.integrations.haystack import VecdbRerankRanker

    assert VecdbRerankRanker(reranker=_Reranker()).run(query="q", documents=[]) == {"documents": []}


def otel() -> None:
    from opentelemetry import trace

    from vecdb_rerank import telemetry

    with telemetry.span("check"):
        assert trace.get_current_span() is not None


def cli() -> None:
    require("typer", "cli")
    require("rich", "cli")
    from vecdb_rerank.cli.app import app

    assert app.registered_commands


def files() -> None:
    from vecdb_rerank.records.reading import read

    parquet = require("pyarrow.parquet", "files")
    pyarrow = require("pyarrow", "files")
    with TemporaryDirectory() as folder:
        names = ("a.parquet", "b.jsonl.zst")
        parquet.write_table(pyarrow.table({"text": ["one"]}), Path(folder, names[0]))
        with pyarrow.CompressedOutputStream(str(Path(folder, names[1])), "zstd") as file:
            file.write(b'{"text": "two"}')
        assert [len(list(read(Path(folder, name)))) for name in names] == [1, 1]


def server() -> None:
    for library in ("httptools", "mcp", "opentelemetry.sdk", "orjson", "starlette", "uvicorn"):
        require(library, "server")
    from vecdb_rerank.server.checks.keys import KeyRing

    assert not KeyRing((), None).required


def evaluation() -> None:
    from vecdb_rerank.evaluation import metrics

    measured = metrics.quality({"q": ["d"]}, {"q": {"d": 1}}, 10)
    assert measured["ndcg@10"] == 1.0


def demo() -> None:
    qdrant()
    offline()
    cli()


def bedrock() -> None:
    from vecdb_rerank import HttpReranker

    arn = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
    assert HttpReranker("http://127.0.0.1:9", format="bedrock", model=arn).name


def vertex() -> None:
    from vecdb_rerank import HttpReranker

    assert HttpReranker("http://127.0.0.1:9", format="vertex", model="m").name


USES = {
    "qdrant": qdrant,
    "opensearch": opensearch,
    "onnx": onnx,
    "offline": offline,
    "http": http,
    "cohere": cohere,
    "bedrock": bedrock,
    "vertex": vertex,
    "sentence-transformers": sentence_transformers,
    "torch": torch,
    "flagembedding": flagembedding,
    "langchain": langchain,
    "llama-index": llama_index,
    "haystack": haystack,
    "otel": otel,
    "cli": cli,
    "files": files,
    "server": server,
    "evaluation": evaluation,
    "demo": demo,
}
# Libraries that a use imports itself, as a user's code would.
CALLERS = ("qdrant_client", "opensearchpy", "opentelemetry")


class _Reranker:
    """Scores without any library."""

    name = "none"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002
        return Scores.from_relevance([0.5] * len(documents))


def _embedder() -> FunctionEmbedder:
    return FunctionEmbedder(lambda texts: [[1.0, float(len(t))] for t in texts], dimension=2)


def _fails(call: Callable[[], object], error: type[Exception], word: str) -> None:
    """Check that ``call`` raises ``error`` with ``word`` for lack of a server or weights."""
    try:
        call()
    except MissingDependencyError:
        raise
    except error as raised:
        assert word in str(raised), raised
    else:
        raise AssertionError("expected an error")


def _missing(name: str) -> str | None:
    """Return why a use does not work here, or None if it does."""
    try:
        USES[name]()
    except MissingDependencyError as error:
        assert "pip install" in str(error)
        return str(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in CALLERS:
            raise
        return str(error)
    return None


def _whole() -> None:
    """Check what every installation has: types, licence, entry points that exist."""
    installed = {str(file) for file in installed_files("vecdb-rerank") or ()}
    for package in ("vecdb_rerank", "vecdb_rerank_qdrant", "vecdb_rerank_opensearch"):
        assert f"{package}/py.typed" in installed
    assert any(name.endswith("licenses/LICENSE") for name in installed)
    assert not {name for name in installed if name.startswith(("tests", "docs", "examples"))}
    assert "Typing :: Typed" in metadata("vecdb-rerank").get_all("Classifier", [])
    for kind in ("connectors", "rerankers", "embedders"):
        points = entry_points(group=f"vecdb_rerank.{kind}")
        assert points.names
        for point in points:
            assert f"{point.module.replace('.', '/')}.py" in installed, point


def main(extra: str) -> None:
    """Check this environment."""
    _whole()
    known = set(metadata("vecdb-rerank").get_all("Provides-Extra", [])) - NOT_USED_ALONE
    assert known == set(USES), f"add a use above for {', '.join(sorted(known ^ set(USES)))}"
    missing = {name: why for name in USES if (why := _missing(name)) is not None}
    assert extra not in missing, missing[extra]
    assert extra != "-" or missing, "nothing is optional"
    works = sorted(set(USES) - set(missing))
    if extra == "demo":
        for library in ("scipy", "matplotlib"):
            assert find_spec(library) is None, f"the demo installs {library}, which it does not use"
    print(f"{extra}: works: {', '.join(works) or 'none'}; the others name their extra")


if __name__ == "__main__":
    main(sys.argv[1])
