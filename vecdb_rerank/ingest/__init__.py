"""Add documents to a collection."""
