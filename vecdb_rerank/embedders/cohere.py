"""Embed by Cohere's API."""

from __future__ import annotations

from vecdb_rerank.embedders.remote import RemoteEmbedder


class CohereEmbedder(RemoteEmbedder):
    """Embeds texts by Cohere's API (v2), which marks queries and documents by ``input_type``."""

    format = "cohere"
