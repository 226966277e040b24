"""Embedders, one file each; found by name through the entry points of `vecdb_rerank.registry`."""
