"""Embed by Jina AI's API."""

from __future__ import annotations

from vecdb_rerank.embedders.remote import RemoteEmbedder


class JinaEmbedder(RemoteEmbedder):
    """Embeds texts by Jina AI's API, which marks queries and documents by ``task``."""

    format = "jina"
