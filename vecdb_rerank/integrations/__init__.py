"""Rerankers and retrievers for LangChain, LlamaIndex and Haystack, one module each."""
