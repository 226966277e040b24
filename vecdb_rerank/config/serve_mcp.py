"""The settings of the tools that agents call."""

from __future__ import annotations

from pydantic import Field

from vecdb_rerank.config.section import Section


class McpSettings(Section):
    """The tools ``search`` and ``fetch`` for agents, over MCP."""

    about: str = Field("", max_length=2_000)
    """What the documents are and when to search them, for the agent: ``The manuals of our
    products, in German.``"""
    title_field: str = Field("title", min_length=1)
    """The field of a document that is its title; without one, its text's first line is."""
    url_field: str = Field("url", min_length=1)
    """The field of a document that is its address."""
    max_results: int = Field(20, ge=1, le=1_000)
    """Results that one search may ask for."""
    result_chars: int = Field(1_000, ge=1)
    """Characters of each result's text."""
    document_chars: int = Field(50_000, ge=1)
    """Characters of the text of a fetched document."""
