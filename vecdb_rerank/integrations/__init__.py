"""Rerankers and connectors as parts of LangChain, LlamaIndex and Haystack: one file each."""
