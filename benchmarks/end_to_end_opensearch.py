"""The contestants of benchmarks/end_to_end.py on an OpenSearch node, fused by its RRF pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from opensearchpy import OpenSearch, helpers

from benchmarks.end_to_end import INT8, LIMIT, Contestants, Documents, K, Search, Setup
from vecdb_rerank import observe
from vecdb_rerank_opensearch import OpenSearchConnector, RerankingOpenSearch

# LangChain's hybrid search knows only these names; the others read "content" and "embedding".
TEXT, VECTOR = "text", "vector_field"
FORMATS: dict[
    str, tuple[str, str, Callable[[str, str], dict[str, Any]]]
] = {  # fields of text and vector, and the source, by what reads it
    "plain": (TEXT, VECTOR, lambda n, text: {TEXT: text, "metadata": {"id": n}}),
    "llama": (
        "content",
        "embedding",
        lambda n, text: {
            "content": text,
            "metadata": node_to_metadata_dict(TextNode(id_=n, text=text), remove_text=True),
        },
    ),
    "haystack": ("content", "embedding", lambda n, text: {"id": n, "content": text}),
}


@dataclass(frozen=True)
class Node:
    """A node with the documents in one index for each format; ``name`` starts their names."""

    client: OpenSearch
    url: str
    name: str


@contextmanager
def filled(documents: Documents, url: str) -> Iterator[Node]:
    """Yield the node; delete indices and pipeline at the end."""
    node = Node(OpenSearch(url, timeout=60), url, f"end-to-end-{uuid.uuid4().hex[:8]}")
    method = {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"}
    combination = {"technique": "rrf", "parameters": {"rank_constant": 60}}
    processor = {"score-ranker-processor": {"combination": combination}}
    try:
        node.client.http.put(
            f"/_search/pipeline/{node.name}", body={"phase_results_processors": [processor]}
        )
        for name, (text_field, vector_field, source) in FORMATS.items():
            dimension = len(documents.vectors[0])
            vectors = {"type": "knn_vector", "dimension": dimension, "method": method}
            text = {"type": "text", "analyzer": "english"}
            body = {
                "settings": {"index": {"knn": True}},
                "mappings": {"properties": {text_field: text, vector_field: vectors}},
            }
            index = f"{node.name}-{name}"
            node.client.indices.create(index=index, body=body)
            rows = zip(documents.ids, documents.texts, documents.vectors, strict=True)
            actions = (
                {"_index": index, "_id": n, **source(n, text), vector_field: list(vector)}
                for n, text, vector in rows
            )
            helpers.bulk(node.client, actions, refresh=True)
            node.client.indices.forcemerge(index=index, max_num_segments=1)
        yield node
    finally:
        node.client.indices.delete(index=f"{node.name}-*")
        node.client.http.delete(f"/_search/pipeline/{node.name}")
        node.client.close()


def first_pass(setup: Setup) -> Search:
    node: Node = setup.client

    def search(query: str) -> tuple[list[str], int]:
        knn = {"vector": list(setup.embedder.embed_query(query)), "k": K}
        queries = [{"match": {TEXT: query}}, {"knn": {VECTOR: knn}}]
        response = node.client.search(
            index=f"{node.name}-plain",
            body={"query": {"hybrid": {"queries": queries}}, "_source": [TEXT], "size": LIMIT},
            params={"search_pipeline": node.name},
        )
        return [hit["_id"] for hit in response["hits"]["hits"]], 0

    return search


def by_hand(setup: Setup) -> Search:
    from sentence_transformers import CrossEncoder

    node: Node = setup.client
    model = CrossEncoder(str(setup.model), device="cpu", backend="onnx", model_kwargs=INT8)

    def search(query: str) -> tuple[list[str], int]:
        knn = {"vector": list(setup.embedder.embed_query(query)), "k": K}
        queries = [{"match": {TEXT: query}}, {"knn": {VECTOR: knn}}]
        response = node.client.search(
            index=f"{node.name}-plain",
            body={"query": {"hybrid": {"queries": queries}}, "_source": [TEXT], "size": K},
            params={"search_pipeline": node.name},
        )
        hits = response["hits"]["hits"]
        scores = model.predict([(query, hit["_source"][TEXT]) for hit in hits])
        order = (-scores).argsort(kind="stable")[:LIMIT]
        return [hits[n]["_id"] for n in order], len(hits)

    return search


def rerankers(setup: Setup) -> Search:
    from rerankers import Reranker

    node: Node = setup.client
    model = Reranker(
        setup.model.name, model_type="flashrank", cache_dir=str(setup.model.parent), verbose=0
    )

    def search(query: str) -> tuple[list[str], int]:
        knn = {"vector": list(setup.embedder.embed_query(query)), "k": K}
        queries = [{"match": {TEXT: query}}, {"knn": {VECTOR: knn}}]
        response = node.client.search(
            index=f"{node.name}-plain",
            body={"query": {"hybrid": {"queries": queries}}, "_source": [TEXT], "size": K},
            params={"search_pipeline": node.name},
        )
        hits = response["hits"]["hits"]
        texts, ids = [hit["_source"][TEXT] for hit in hits], [hit["_id"] for hit in hits]
        ranked = model.rank(query=query, docs=texts, doc_ids=ids)
        return [result.doc_id for result in ranked.top_k(LIMIT)], len(hits)

    return search


def langchain_cross_encoder(setup: Setup) -> Search:
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder
    from langchain_community.vectorstores import OpenSearchVectorSearch

    from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings

    node: Node = setup.client
    store = OpenSearchVectorSearch(
        node.url, f"{node.name}-plain", VecdbRerankEmbeddings(setup.embedder), engine="lucene"
    )
    options = {"k": K, "search_type": "hybrid_search", "search_pipeline": node.name}
    retriever = store.as_retriever(search_kwargs=options)
    onnx = {"device": "cpu", "backend": "onnx", "model_kwargs": INT8}
    model = HuggingFaceCrossEncoder(model_name=str(setup.model), model_kwargs=onnx)
    compressor = CrossEncoderReranker(model=model, top_n=LIMIT)

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.invoke(query)
        hits = compressor.compress_documents(found, query)
        return [hit.metadata["id"] for hit in hits], len(found)

    return search


def langchain_flashrank(setup: Setup) -> Search:
    from flashrank import Ranker
    from langchain_community.document_compressors import FlashrankRerank
    from langchain_community.vectorstores import OpenSearchVectorSearch

    from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings

    node: Node = setup.client
    store = OpenSearchVectorSearch(
        node.url, f"{node.name}-plain", VecdbRerankEmbeddings(setup.embedder), engine="lucene"
    )
    options = {"k": K, "search_type": "hybrid_search", "search_pipeline": node.name}
    retriever = store.as_retriever(search_kwargs=options)
    ranker = Ranker(model_name=setup.model.name, cache_dir=str(setup.model.parent))
    # Its key "id" would hide the document's.
    compressor = FlashrankRerank(client=ranker, top_n=LIMIT, prefix_metadata="rank_")

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.invoke(query)
        hits = compressor.compress_documents(found, query)
        return [hit.metadata["id"] for hit in hits], len(found)

    return search


def llama_index(setup: Setup) -> Search:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.postprocessor import SentenceTransformerRerank
    from llama_index.vector_stores.opensearch import OpensearchVectorClient, OpensearchVectorStore

    from vecdb_rerank.integrations.llama_index import VecdbRerankEmbedding

    node: Node = setup.client
    client = OpensearchVectorClient(
        node.url,
        f"{node.name}-llama",
        setup.embedder.dimension,
        engine="lucene",
        search_pipeline=node.name,
        excluded_source_fields=["embedding"],
    )
    index = VectorStoreIndex.from_vector_store(
        OpensearchVectorStore(client), embed_model=VecdbRerankEmbedding(setup.embedder)
    )
    retriever = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=K)
    reranker = SentenceTransformerRerank(model=str(setup.model), top_n=LIMIT, device="cpu")

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.retrieve(query)
        hits = reranker.postprocess_nodes(found, query_str=query)
        return [hit.node.node_id for hit in hits], len(found)

    return search


def haystack(setup: Setup) -> Search:
    from haystack import Pipeline
    from haystack.components.joiners import DocumentJoiner
    from haystack_integrations.components.rankers.sentence_transformers import (
        SentenceTransformersSimilarityRanker,
    )
    from haystack_integrations.components.retrievers.opensearch import (
        OpenSearchBM25Retriever,
        OpenSearchEmbeddingRetriever,
    )
    from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

    node: Node = setup.client
    store = OpenSearchDocumentStore(
        hosts=node.url, index=f"{node.name}-haystack", embedding_dim=setup.embedder.dimension
    )
    pipeline = Pipeline()
    dense = OpenSearchEmbeddingRetriever(document_store=store, top_k=K)
    pipeline.add_component("dense", dense)
    pipeline.add_component("bm25", OpenSearchBM25Retriever(document_store=store, top_k=K))
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=K)
    pipeline.add_component("joiner", joiner)
    ranker = SentenceTransformersSimilarityRanker(
        model=str(setup.model), top_k=LIMIT, backend="onnx", model_kwargs=dict(INT8)
    )
    pipeline.add_component("ranker", ranker)
    pipeline.connect("dense", "joiner")
    pipeline.connect("bm25", "joiner")
    pipeline.connect("joiner", "ranker")

    def search(query: str) -> tuple[list[str], int]:
        inputs = {
            "dense": {"query_embedding": list(setup.embedder.embed_query(query))},
            "bm25": {"query": query},
            "ranker": {"query": query},
        }
        found = pipeline.run(inputs, include_outputs_from={"joiner"})
        hits = found["ranker"]["documents"]
        return [hit.id for hit in hits], len(found["joiner"]["documents"])

    return search


def connector(setup: Setup) -> Search:
    node: Node = setup.client
    connector = OpenSearchConnector(
        node.client,
        f"{node.name}-plain",
        dense_vector=VECTOR,
        bm25_fields=[TEXT],
        embedder=setup.embedder,
    )

    def search(query: str) -> tuple[list[str], int]:
        with observe() as outcomes:
            response = connector.search(query, k=K, limit=LIMIT)
        return [hit["_id"] for hit in response["hits"]["hits"]], outcomes[0].scored

    return search


def drop_in(setup: Setup) -> Search:
    node: Node = setup.client
    client = RerankingOpenSearch(node.client, k=K)

    def search(query: str) -> tuple[list[str], int]:
        knn = {"vector": list(setup.embedder.embed_query(query)), "k": K}
        queries = [{"match": {TEXT: query}}, {"knn": {VECTOR: knn}}]
        with observe() as outcomes:
            response = client.search(
                index=f"{node.name}-plain",
                body={"query": {"hybrid": {"queries": queries}}, "_source": [TEXT], "size": LIMIT},
                params={"search_pipeline": node.name},
            )
        return [hit["_id"] for hit in response["hits"]["hits"]], outcomes[0].scored

    return search


CONTESTANTS: Contestants = {
    "hybrid, not reranked": first_pass,
    "client and CrossEncoder by hand, int8": by_hand,
    "client and `rerankers` (FlashRank), int8": rerankers,
    "LangChain, hybrid store and CrossEncoderReranker, int8": langchain_cross_encoder,
    "LangChain, hybrid store and FlashRank, int8": langchain_flashrank,
    "LlamaIndex, SentenceTransformerRerank, float32": llama_index,
    "Haystack, SentenceTransformersSimilarityRanker, int8": haystack,
    "vecdb_rerank, connector, int8": connector,
    "vecdb_rerank, drop-in client, int8": drop_in,
}
