"""Rerankers, one file each, found by name through entry points (`config.registry`)."""
