"""Embedders, one per file, found by name through entry points (`config.registry`)."""
