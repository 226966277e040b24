"""The contestants of benchmarks/end_to_end.py on an embedded Qdrant.

The local mode of the client has no BM25 encoder: all use this package's, which makes the vectors of
a server's ``qdrant/bm25``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from qdrant_client import QdrantClient
from qdrant_client.http import models

from benchmarks.end_to_end import INT8, LIMIT, Contestants, Documents, K, Search, Setup
from vecdb_rerank import observe
from vecdb_rerank_qdrant import QdrantConnector, RerankingQdrantClient
from vecdb_rerank_qdrant.bm25 import Bm25

DENSE, SPARSE = "text-dense", "text-sparse"
BM25 = Bm25()
RRF = models.RrfQuery(rrf=models.Rrf(k=60))
PAYLOADS: dict[
    str, Callable[[str, str], dict[str, Any]]
] = {  # of a document, by the collection's name: each framework reads its own
    "documents": lambda n, text: {"text": text, "metadata": {"id": n}},
    "llama": lambda n, text: node_to_metadata_dict(TextNode(id_=n, text=text)),
    "haystack": lambda n, text: {"id": n, "content": text, "meta": {}},
}


@contextmanager
def filled(documents: Documents, url: str | None) -> Iterator[QdrantClient]:
    """Yield a client with the documents in one collection for each format."""
    client = QdrantClient(":memory:")
    for name, payload in PAYLOADS.items():
        client.create_collection(
            name,
            vectors_config={
                DENSE: models.VectorParams(
                    size=len(documents.vectors[0]), distance=models.Distance.COSINE
                )
            },
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        rows = enumerate(zip(documents.ids, documents.texts, documents.vectors, strict=True))
        points = [
            models.PointStruct(
                id=number,
                vector={DENSE: list(vector), SPARSE: BM25.document(text)},
                payload=payload(document_id, text),
            )
            for number, (document_id, text, vector) in rows
        ]
        client.upsert(name, points)
    yield client
    client.close()


def first_pass(setup: Setup) -> Search:
    def search(query: str) -> tuple[list[str], int]:
        dense, sparse = setup.embedder.embed_query(query), BM25.query(query)
        response = setup.client.query_points(
            "documents",
            prefetch=[
                models.Prefetch(query=dense, using=DENSE, limit=K),
                models.Prefetch(query=sparse, using=SPARSE, limit=K),
            ],
            query=RRF,
            limit=LIMIT,
        )
        return [point.payload["metadata"]["id"] for point in response.points], 0

    return search


def by_hand(setup: Setup) -> Search:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(setup.model), device="cpu", backend="onnx", model_kwargs=INT8)

    def search(query: str) -> tuple[list[str], int]:
        dense, sparse = setup.embedder.embed_query(query), BM25.query(query)
        response = setup.client.query_points(
            "documents",
            prefetch=[
                models.Prefetch(query=dense, using=DENSE, limit=K),
                models.Prefetch(query=sparse, using=SPARSE, limit=K),
            ],
            query=RRF,
            limit=K,
        )
        points = response.points
        scores = model.predict([(query, point.payload["text"]) for point in points])
        order = (-scores).argsort(kind="stable")[:LIMIT]
        return [points[n].payload["metadata"]["id"] for n in order], len(points)

    return search


def rerankers(setup: Setup) -> Search:
    from rerankers import Reranker

    model = Reranker(
        setup.model.name, model_type="flashrank", cache_dir=str(setup.model.parent), verbose=0
    )

    def search(query: str) -> tuple[list[str], int]:
        dense, sparse = setup.embedder.embed_query(query), BM25.query(query)
        response = setup.client.query_points(
            "documents",
            prefetch=[
                models.Prefetch(query=dense, using=DENSE, limit=K),
                models.Prefetch(query=sparse, using=SPARSE, limit=K),
            ],
            query=RRF,
            limit=K,
        )
        points = response.points
        texts = [point.payload["text"] for point in points]
        ids = [point.payload["metadata"]["id"] for point in points]
        ranked = model.rank(query=query, docs=texts, doc_ids=ids)
        return [result.doc_id for result in ranked.top_k(LIMIT)], len(points)

    return search


def langchain_ensemble(setup: Setup) -> Search:
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder
    from langchain_qdrant import QdrantVectorStore, RetrievalMode

    from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings

    retrievers = []
    for mode in (RetrievalMode.DENSE, RetrievalMode.SPARSE):
        store = QdrantVectorStore(
            setup.client,
            "documents",
            embedding=VecdbRerankEmbeddings(setup.embedder),
            sparse_embedding=langchain_sparse(),
            retrieval_mode=mode,
            vector_name=DENSE,
            sparse_vector_name=SPARSE,
            content_payload_key="text",
        )
        retrievers.append(store.as_retriever(search_kwargs={"k": K}))
    retriever = EnsembleRetriever(retrievers=retrievers, weights=[0.5, 0.5])
    options = {"device": "cpu", "backend": "onnx", "model_kwargs": INT8}
    model = HuggingFaceCrossEncoder(model_name=str(setup.model), model_kwargs=options)
    compressor = CrossEncoderReranker(model=model, top_n=LIMIT)

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.invoke(query)[:K]
        hits = compressor.compress_documents(found, query)
        return [hit.metadata["id"] for hit in hits], len(found)

    return search


def langchain_flashrank(setup: Setup) -> Search:
    from flashrank import Ranker
    from langchain_community.document_compressors import FlashrankRerank
    from langchain_qdrant import QdrantVectorStore, RetrievalMode

    from vecdb_rerank.integrations.langchain import VecdbRerankEmbeddings

    store = QdrantVectorStore(
        setup.client,
        "documents",
        embedding=VecdbRerankEmbeddings(setup.embedder),
        sparse_embedding=langchain_sparse(),
        retrieval_mode=RetrievalMode.HYBRID,
        vector_name=DENSE,
        sparse_vector_name=SPARSE,
        content_payload_key="text",
    )
    retriever = store.as_retriever(search_kwargs={"k": K, "hybrid_fusion": RRF})
    ranker = Ranker(model_name=setup.model.name, cache_dir=str(setup.model.parent))
    # Its key "id" would hide the document's.
    compressor = FlashrankRerank(client=ranker, top_n=LIMIT, prefix_metadata="rank_")

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.invoke(query)
        hits = compressor.compress_documents(found, query)
        return [hit.metadata["id"] for hit in hits], len(found)

    return search


def langchain_sparse() -> Any:
    """Return what stands in for ``FastEmbedSparse(model_name="Qdrant/bm25")``."""
    from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector

    class Sparse(SparseEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[SparseVector]:
            return [SparseVector(**BM25.document(text).model_dump()) for text in texts]

        def embed_query(self, text: str) -> SparseVector:
            return SparseVector(**BM25.query(text).model_dump())

    return Sparse()


def llama_index(setup: Setup) -> Search:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.postprocessor import SentenceTransformerRerank
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    from vecdb_rerank.integrations.llama_index import VecdbRerankEmbedding

    def sparse(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        vectors = [BM25.query(text) for text in texts]
        return [vector.indices for vector in vectors], [vector.values for vector in vectors]

    store = QdrantVectorStore(
        "llama",
        client=setup.client,
        enable_hybrid=True,
        sparse_doc_fn=sparse,
        sparse_query_fn=sparse,
        dense_vector_name=DENSE,
        sparse_vector_name=SPARSE,
    )
    embedding = VecdbRerankEmbedding(setup.embedder)
    retriever = VectorStoreIndex.from_vector_store(store, embed_model=embedding).as_retriever(
        vector_store_query_mode="hybrid", similarity_top_k=K, sparse_top_k=K, hybrid_top_k=K
    )
    reranker = SentenceTransformerRerank(model=str(setup.model), top_n=LIMIT, device="cpu")

    def search(query: str) -> tuple[list[str], int]:
        found = retriever.retrieve(query)
        hits = reranker.postprocess_nodes(found, query_str=query)
        return [hit.node.node_id for hit in hits], len(found)

    return search


def haystack(setup: Setup) -> Search:
    from haystack import Pipeline
    from haystack.components.joiners import DocumentJoiner
    from haystack.dataclasses import SparseEmbedding
    from haystack_integrations.components.rankers.sentence_transformers import (
        SentenceTransformersSimilarityRanker,
    )
    from haystack_integrations.components.retrievers.qdrant import (
        QdrantEmbeddingRetriever,
        QdrantSparseEmbeddingRetriever,
    )
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

    store = QdrantDocumentStore(":memory:", index="haystack", use_sparse_embeddings=True)
    store._client = setup.client
    # QdrantHybridRetriever fuses ten hits of each branch, whatever its top_k: a joiner gets all.
    pipeline = Pipeline()
    pipeline.add_component("dense", QdrantEmbeddingRetriever(store, top_k=K))
    pipeline.add_component("sparse", QdrantSparseEmbeddingRetriever(store, top_k=K))
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=K)
    pipeline.add_component("joiner", joiner)
    ranker = SentenceTransformersSimilarityRanker(
        model=str(setup.model), top_k=LIMIT, backend="onnx", model_kwargs=dict(INT8)
    )
    pipeline.add_component("ranker", ranker)
    pipeline.connect("dense", "joiner")
    pipeline.connect("sparse", "joiner")
    pipeline.connect("joiner", "ranker")

    def search(query: str) -> tuple[list[str], int]:
        sparse = SparseEmbedding(**BM25.query(query).model_dump())
        inputs = {
            "dense": {"query_embedding": list(setup.embedder.embed_query(query))},
            "sparse": {"query_sparse_embedding": sparse},
            "ranker": {"query": query},
        }
        found = pipeline.run(inputs, include_outputs_from={"joiner"})
        hits = found["ranker"]["documents"]
        return [hit.id for hit in hits], len(found["joiner"]["documents"])

    return search


def connector(setup: Setup) -> Search:
    connector = QdrantConnector(
        setup.client,
        "documents",
        dense_vector=DENSE,
        bm25_vector=SPARSE,
        embedder=setup.embedder,
    )

    def search(query: str) -> tuple[list[str], int]:
        with observe() as outcomes:
            response = connector.search(query, k=K, limit=LIMIT)
        hits = [(point.payload or {})["metadata"]["id"] for point in response.points]
        return hits, outcomes[0].scored

    return search


def drop_in(setup: Setup) -> Search:
    client = RerankingQdrantClient(setup.client, k=K)

    def search(query: str) -> tuple[list[str], int]:
        dense, sparse = setup.embedder.embed_query(query), BM25.query(query)
        with observe() as outcomes:
            response = client.query_points(
                "documents",
                prefetch=[
                    models.Prefetch(query=dense, using=DENSE, limit=K),
                    models.Prefetch(query=sparse, using=SPARSE, limit=K),
                ],
                query=RRF,
                limit=LIMIT,
                rerank_query=query,
            )
        hits = [(point.payload or {})["metadata"]["id"] for point in response.points]
        return hits, outcomes[0].scored

    return search


CONTESTANTS: Contestants = {
    "hybrid, not reranked": first_pass,
    "client and CrossEncoder by hand, int8": by_hand,
    "client and `rerankers` (FlashRank), int8": rerankers,
    "LangChain, EnsembleRetriever and CrossEncoderReranker, int8": langchain_ensemble,
    "LangChain, hybrid store and FlashRank, int8": langchain_flashrank,
    "LlamaIndex, SentenceTransformerRerank, float32": llama_index,
    "Haystack, SentenceTransformersSimilarityRanker, int8": haystack,
    "vecdb_rerank, connector, int8": connector,
    "vecdb_rerank, drop-in client, int8": drop_in,
}
