"""LlamaIndex's postprocessors for the APIs of Cohere and text-embeddings-inference."""

from common import DOCUMENTS, KEY, QUERY, URL, by_text
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

PREFIX = "llama-index-postprocessor-"
for package, reranker in (
    ("cohere-rerank", CohereRerank(api_key=KEY, base_url=URL, model="rerank-v3.5", top_n=3)),
    ("tei-rerank", TextEmbeddingInference(base_url=URL, auth_token=f"Bearer {KEY}", top_n=3)),
):
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in DOCUMENTS]
    found = reranker.postprocess_nodes(nodes, query_str=QUERY)
    call = f"{type(reranker).__name__}.postprocess_nodes"
    by_text(PREFIX + package, call, [(each.node.text, each.score) for each in found])
