"""Embed by Hugging Face's text-embeddings-inference."""

from __future__ import annotations

from vecdb_rerank.embedders.remote import RemoteEmbedder


class TeiEmbedder(RemoteEmbedder):
    """Embeds texts by a server of text-embeddings-inference, at ``url``.

    Queries and documents are of no kind unless the model's configuration names prompts:
    ``query_kind`` and ``document_kind`` are then the names (``prompt_name``).
    """

    format = "tei"
