"""The reranker and the search as a service."""
