"""LangChain's compressor for Cohere's API."""

from common import DOCUMENTS, KEY, QUERY, URL, by_text, ranked
from langchain_cohere import CohereRerank
from langchain_core.documents import Document

NAME = "langchain-cohere"
reranker = CohereRerank(cohere_api_key=KEY, base_url=URL, model="rerank-v3.5", top_n=3)
found = reranker.compress_documents([Document(text) for text in DOCUMENTS], QUERY)
by_text(
    NAME,
    "CohereRerank.compress_documents",
    [(d.page_content, d.metadata["relevance_score"]) for d in found],
)
results = reranker.rerank(DOCUMENTS, QUERY)
ranked(NAME, "CohereRerank.rerank", [(r["index"], r["relevance_score"]) for r in results])
