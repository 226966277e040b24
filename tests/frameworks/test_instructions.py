"""Instructions in the frameworks: of a component, and of a call where the framework passes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from haystack import Document as HaystackDocument
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from qdrant_client import QdrantClient

from vecdb_rerank import ConfigurationError
from vecdb_rerank.integrations import haystack, langchain, llama_index
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector

TEXTS = ["bread from a blog", "bread from the documentation", "bread, boiled"]
REPLACE = Policy(blend=Blend("replace"))
OWN, CALLED = "the documentation", "what is boiled"


class Obedient:
    """Finds relevant what holds the last word of the instruction."""

    name = "obedient"

    def score(self, query: str, texts: Sequence[str], *, instruction: str = "blog") -> list[float]:
        return [0.9 if instruction.split()[-1] in text else 0.1 for text in texts]


class Deaf:
    """Takes no instruction."""

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [0.5] * len(texts)


@pytest.fixture(scope="module")
def connector() -> Iterator[QdrantConnector]:
    made = QdrantConnector(
        QdrantClient(":memory:", force_disable_check_same_thread=True),
        "d",
        embedder=HashEmbedder(),
        reranker=Obedient(),
        policy=REPLACE,
        close_client=True,
    )
    made.create()
    made.add([{"id": n, "text": text} for n, text in enumerate(TEXTS)])
    yield made
    made.close()


def test_langchain(connector: QdrantConnector) -> None:
    documents = [Document(page_content=text) for text in TEXTS]
    compressor = langchain.VecdbRerankCompressor(Obedient(), policy=REPLACE, instruction=OWN)
    [best, *_] = compressor.compress_documents(documents, "bread")
    assert "documentation" in best.page_content
    [best, *_] = asyncio.run(compressor.acompress_documents(documents, "bread", instruction=CALLED))
    assert "boiled" in best.page_content
    retriever = langchain.VecdbRerankRetriever(connector=connector, instruction=OWN)
    assert "documentation" in retriever.invoke("bread")[0].page_content
    assert "boiled" in retriever.invoke("bread", instruction=CALLED)[0].page_content


def test_llama_index(connector: QdrantConnector) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    postprocessor = llama_index.VecdbRerankPostprocessor(
        Obedient(), policy=REPLACE, instruction=OWN
    )
    [best, *_] = postprocessor.postprocess_nodes(nodes, query_str="bread")
    assert "documentation" in best.node.get_content()
    retriever = llama_index.VecdbRerankRetriever(connector, instruction=CALLED)
    assert "boiled" in retriever.retrieve("bread")[0].node.get_content()


def test_haystack(connector: QdrantConnector) -> None:
    documents = [HaystackDocument(content=text) for text in TEXTS]
    ranker = haystack.VecdbRerankRanker(
        Obedient(), policy={"blend": {"method": "replace"}}, instruction=OWN
    )
    for given, expected in ((None, "documentation"), (CALLED, "boiled")):
        found = ranker.run(query="bread", documents=documents, instruction=given)
        assert expected in str(found["documents"][0].content)
    retriever = haystack.VecdbRerankRetriever(connector, instruction=OWN)
    for given, expected in ((None, "documentation"), (CALLED, "boiled")):
        found = retriever.run(query="bread", instruction=given)
        assert expected in str(found["documents"][0].content)
    saved = haystack.VecdbRerankRanker(instruction=OWN).to_dict()
    assert haystack.VecdbRerankRanker.from_dict(saved).instruction == OWN


@pytest.mark.parametrize(
    "make",
    [
        lambda: langchain.VecdbRerankCompressor(Deaf(), instruction=OWN),
        lambda: llama_index.VecdbRerankPostprocessor(Deaf(), instruction=OWN),
        lambda: haystack.VecdbRerankRanker(Deaf(), instruction=OWN).warm_up(),
    ],
    ids=["langchain", "llama_index", "haystack"],
)
def test_a_reranker_without_a_place_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.key == "instruction"
