"""The wire formats of rerank services as data: one table.

To add a format, add a row to `FORMATS`, its name to `FormatName`, and a recorded answer to
``tests/rerankers/recorded.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

from vecdb_rerank._checks import one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.rerankers.wire_format import WireFormat

FormatName = Literal[
    "cohere",
    "cohere_v1",
    "jina",
    "tei",
    "voyage",
    "vllm",
    "sglang",
    "nim",
    "nim_hosted",
    "mixedbread",
    "dashscope",
    "dashscope_compatible",
    "deepinfra",
    "pinecone",
    "zeroentropy",
    "azure",
    "bedrock",
    "vertex",
    "custom",
]

_FLAT = {"model": "{model}", "query": "{query}", "documents": "{documents}"}
_NO_DOCUMENTS = {**_FLAT, "return_documents": False}
_RANKING = {
    "model": "{model}",
    "query": {"text": "{query}"},
    "passages": [{"text": "{document}"}],
    "truncate": "END",
}
_NIM = WireFormat(
    "/v1/ranking",
    _RANKING,
    results="rankings",
    score="logit",
    scale="logits",
    error="detail",
    max_documents=512,
)

# What was read for each row, in 2026: the services' own API references and, marked *, the requests
# of their SDKs (``tests/rerankers/sdk_requests.json``).
# - cohere*, cohere_v1*: also the format of Infinity, LocalAI and llama.cpp, which returns logits.
# - jina: returns documents by default; v3 reads all documents together. voyage*: at most 1,000
#   documents; 300,000 tokens for rerank-1, 600,000 for later models; reads instructions in
#   the query.
# - tei: max-client-batch-size 32; without `truncate` one long document fails the request; logits
#   distinguish scores that a server's 16-bit sigmoid makes equal.
# - vllm: also LiteLLM and Contextual AI*. sglang: returns a bare list, and documents by default.
# - nim, nim_hosted: NVIDIA's reference has 512 passages; the hosted path has the model with
#   underscores for dots. mixedbread*: `top_k` is 10 by default.
# - dashscope*, dashscope_compatible: tokens of the query for each document, 120,000 for
#   qwen3-rerank and 30,000 for gte-rerank-v2; 500 documents.
# - deepinfra: one query for each document, and scores in their order. pinecone*: 100 documents for
#   its own models. zeroentropy*. azure: Cohere's API under another path.
# - bedrock*: 1,000 sources, 32,000 characters each; results in pages. vertex*: 200
#   records, answered by id.
FORMATS: Mapping[FormatName, WireFormat] = {
    "cohere": WireFormat(
        "/v2/rerank", _FLAT, usage="meta.billed_units.search_units", unit="search"
    ),
    "cohere_v1": WireFormat(
        "/v1/rerank", _NO_DOCUMENTS, usage="meta.billed_units.search_units", unit="search"
    ),
    "jina": WireFormat(
        "/v1/rerank",
        _NO_DOCUMENTS,
        usage="usage.total_tokens",
        error="detail",
        listwise_models=("jina-reranker-v3",),
        unit="token",
    ),
    "tei": WireFormat(
        "/rerank",
        {"query": "{query}", "texts": "{documents}", "raw_scores": "{logits}", "truncate": True},
        results="",
        score="score",
        scale="logits",
        error="error",
        max_documents=32,
    ),
    "voyage": WireFormat(
        "/v1/rerank",
        _NO_DOCUMENTS,
        instructed_query="{instruction}\nQuery: {query}",
        results="data",
        usage="usage.total_tokens",
        error="detail",
        max_tokens=300_000,
        unit="token",
    ),
    "vllm": WireFormat(
        "/v1/rerank", {**_FLAT, "instruction": "{instruction}"}, error="error.message"
    ),
    "sglang": WireFormat(
        "/v1/rerank", {**_NO_DOCUMENTS, "instruct": "{instruction}"}, results="", score="score"
    ),
    "nim": _NIM,
    "nim_hosted": replace(_NIM, path="/v1/retrieval/{model_with_underscores}/reranking"),
    "mixedbread": WireFormat(
        "/v1/reranking",
        {
            "model": "{model}",
            "query": "{query}",
            "input": "{documents}",
            "top_k": "{count}",
            "return_input": False,
        },
        results="data",
        score="score",
        usage="usage.total_tokens",
        error="detail",
        unit="token",
    ),
    "dashscope": WireFormat(
        "/api/v1/services/rerank/text-rerank/text-rerank",
        {
            "model": "{model}",
            "input": {"query": "{query}", "documents": "{documents}"},
            "parameters": {"return_documents": False, "instruct": "{instruction}"},
        },
        results="output.results",
        usage="usage.total_tokens",
        max_documents=500,
        max_tokens=30_000,
        unit="token",
    ),
    "dashscope_compatible": WireFormat(
        "/compatible-api/v1/reranks",
        {**_FLAT, "instruct": "{instruction}"},
        usage="usage.total_tokens",
        error="error.message",
        max_documents=500,
        max_tokens=120_000,
        unit="token",
    ),
    "deepinfra": WireFormat(
        "/v1/inference/{model}",
        {"queries": "{queries}", "documents": "{documents}", "instruction": "{instruction}"},
        results="scores",
        index=None,
        score="",
        usage="input_tokens",
        error="detail.error",
        unit="token",
    ),
    "pinecone": WireFormat(
        "/rerank",
        {
            "model": "{model}",
            "query": "{query}",
            "documents": [{"text": "{document}"}],
            "rank_fields": ["text"],
            "return_documents": False,
        },
        headers={"X-Pinecone-Api-Version": "2026-07"},
        auth_header="Api-Key",
        auth_prefix="",
        results="data",
        score="score",
        usage="usage.rerank_units",
        error="error.message",
        max_documents=100,
        unit="query",
    ),
    "zeroentropy": WireFormat(
        "/v1/models/rerank", _FLAT, usage="total_tokens", error="detail", unit="token"
    ),
    "azure": WireFormat(
        "/providers/cohere/v2/rerank",
        _FLAT,
        auth_header="api-key",
        auth_prefix="",
        usage="meta.billed_units.search_units",
        error="error.message",
        unit="search",
    ),
    "bedrock": WireFormat(
        "/rerank",
        {
            "queries": [{"type": "TEXT", "textQuery": {"text": "{query}"}}],
            "sources": [
                {
                    "type": "INLINE",
                    "inlineDocumentSource": {
                        "type": "TEXT",
                        "textDocument": {"text": "{document}"},
                    },
                }
            ],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": "{count}",
                    "modelConfiguration": {"modelArn": "{model}"},
                },
            },
        },
        signing="aws",
        score="relevanceScore",
        max_chars=32_000,
        next_page="nextToken",
        unit="search",
    ),
    "vertex": WireFormat(
        "/rankingConfigs/default_ranking_config:rank",
        {
            "model": "{model}",
            "query": "{query}",
            "records": [{"id": "{id}", "content": "{document}"}],
            "topN": "{count}",
            "ignoreRecordDetailsInResponse": True,
        },
        signing="google",
        results="records",
        index=None,
        id="id",
        score="score",
        error="error.message",
        max_documents=200,
        unit="query",
    ),
}


def described(format: FormatName, custom: WireFormat | Mapping[str, object] | None) -> WireFormat:
    """Return the description of a format: its row, or ``custom`` for the format of that name.

    Raise `ConfigurationError` for an unknown name, and for a description without that name.
    """
    one_of("format", format, get_args(FormatName))
    if format != "custom":
        if custom is not None:
            raise ConfigurationError("custom", "describes a format; set format to 'custom'")
        return FORMATS[format]
    if custom is None:
        raise ConfigurationError("custom", "is missing: it describes the format 'custom'")
    return custom if isinstance(custom, WireFormat) else WireFormat.of(custom)
