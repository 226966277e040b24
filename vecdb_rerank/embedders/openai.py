"""Embed by OpenAI's API, or a server that is compatible with it: vLLM, Ollama, Azure."""

from __future__ import annotations

from vecdb_rerank.embedders.remote import RemoteEmbedder


class OpenAIEmbedder(RemoteEmbedder):
    """Embeds texts by OpenAI's API, or by any server that is compatible with it.

    The address of an Azure deployment is
    ``https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=…``. Its key goes into
    the header ``api-key``. The API does not distinguish queries from documents; set
    ``query_prefix`` and ``document_prefix`` for a model that was trained with them.
    """

    format = "openai"
