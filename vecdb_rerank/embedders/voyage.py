"""Embed by Voyage AI's API."""

from __future__ import annotations

from vecdb_rerank.embedders.remote import RemoteEmbedder


class VoyageEmbedder(RemoteEmbedder):
    """Embeds texts by Voyage AI's API, which marks queries and documents by ``input_type``."""

    format = "voyage"
