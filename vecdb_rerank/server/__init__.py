"""The service of ``vecdb-rerank serve``: reranking and search over HTTP, for any language."""
