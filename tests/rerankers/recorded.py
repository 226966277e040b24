"""What services are sent and what they answer, as their documentation shows: one entry a format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.rerankers.wire_formats import FormatName

KEY = "sk-7f3a9c"
QUERY = "How long do I boil an egg?"
DOCUMENTS = ["Six minutes.", "A treaty.", "Granite."]
SCORES = [0.9, 0.1, 0.5]
LOGITS = [2.25, -5.5, -1.125]
INSTRUCTION = "prefer official documentation"
ARN = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
FLAT = {"model": "m", "query": QUERY, "documents": DOCUMENTS}
# Best first, as services answer.
ORDER = sorted(range(3), key=lambda n: -SCORES[n])


def results(score: str = "relevance_score", values: list[float] = SCORES) -> list[dict[str, Any]]:
    return [{"index": n, score: values[n]} for n in ORDER]


@dataclass(frozen=True)
class Recorded:
    """One format: ``sent`` to ``path``, its ``answer``, and bodies of errors by status.

    ``instructed`` are the fields of the request that differ with an instruction; None: the format
    has no place for one.
    """

    sent: dict[str, Any]
    answer: Any
    errors: dict[int, Any]
    path: str
    model: str = "m"
    base: str = ""
    header: tuple[str, str] = ("Authorization", f"Bearer {KEY}")
    scores: list[float] = field(default_factory=lambda: SCORES)
    billed: float = 0.0
    instructed: dict[str, Any] | None = None


_COHERE = {
    "id": "07734bd2",
    "results": results(),
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}
_USAGE = {"usage": {"prompt_tokens": 30, "total_tokens": 30}}
_RANKING = {
    "query": {"text": QUERY},
    "passages": [{"text": text} for text in DOCUMENTS],
    "truncate": "END",
}
RECORDED: dict[FormatName, Recorded] = {
    "cohere": Recorded(
        FLAT, _COHERE, {400: {"id": "1", "message": "bad query"}}, "/v2/rerank", billed=1
    ),
    "cohere_v1": Recorded(
        {**FLAT, "return_documents": False},
        _COHERE,
        {429: {"message": "trial key limit"}},
        "/v1/rerank",
        billed=1,
    ),
    "jina": Recorded(
        {**FLAT, "return_documents": False},
        {"model": "m", "object": "list", **_USAGE, "results": results()},
        {422: {"detail": "bad query"}},
        "/v1/rerank",
        billed=30,
    ),
    "tei": Recorded(
        {"query": QUERY, "texts": DOCUMENTS, "raw_scores": True, "truncate": True},
        results("score", LOGITS),
        {413: {"error": "batch size 3 > 2", "error_type": "Validation"}},
        "/rerank",
        scores=LOGITS,
    ),
    "voyage": Recorded(
        {**FLAT, "return_documents": False},
        {"object": "list", "data": results(), "model": "m", "usage": {"total_tokens": 30}},
        {400: {"detail": "bad query"}},
        "/v1/rerank",
        billed=30,
        instructed={"query": f"{INSTRUCTION}\nQuery: {QUERY}"},
    ),
    "vllm": Recorded(
        FLAT,
        {"id": "rerank-1", "model": "m", **_USAGE, "results": results()},
        {400: {"error": {"message": "bad query", "type": "BadRequestError", "code": 400}}},
        "/v1/rerank",
        instructed={"instruction": INSTRUCTION},
    ),
    "sglang": Recorded(
        {**FLAT, "return_documents": False},
        [{**one, "meta_info": {"prompt_tokens": 9}} for one in results("score")],
        {400: {"object": "error", "message": "bad query", "code": 400}},
        "/v1/rerank",
        instructed={"instruct": INSTRUCTION},
    ),
    "nim": Recorded(
        {"model": "nvidia/llama-3.2-nv-rerankqa-1b-v2", **_RANKING},
        {"rankings": results("logit", LOGITS)},
        {422: {"error": "bad query"}},
        "/v1/ranking",
        model="nvidia/llama-3.2-nv-rerankqa-1b-v2",
        scores=LOGITS,
    ),
    "nim_hosted": Recorded(
        {"model": "nvidia/llama-3.2-nv-rerankqa-1b-v2", **_RANKING},
        {"rankings": results("logit", LOGITS), **_USAGE},
        {401: {"status": 401, "title": "Unauthorized", "detail": "Authentication failed"}},
        "/v1/retrieval/nvidia/llama-3_2-nv-rerankqa-1b-v2/reranking",
        model="nvidia/llama-3.2-nv-rerankqa-1b-v2",
        scores=LOGITS,
    ),
    "mixedbread": Recorded(
        {"model": "m", "query": QUERY, "input": DOCUMENTS, "top_k": 3, "return_input": False},
        {
            **_USAGE,
            "model": "m",
            "data": results("score"),
            "object": "list",
            "top_k": 3,
            "return_input": False,
        },
        {422: {"detail": [{"loc": ["body", "query"], "msg": "bad query", "type": "missing"}]}},
        "/v1/reranking",
        billed=30,
    ),
    "dashscope": Recorded(
        {
            "model": "m",
            "input": {"query": QUERY, "documents": DOCUMENTS},
            "parameters": {"return_documents": False},
        },
        {"output": {"results": results()}, "usage": {"total_tokens": 30}, "request_id": "r"},
        {400: {"code": "InvalidParameter", "message": "bad query", "request_id": "r"}},
        "/api/v1/services/rerank/text-rerank/text-rerank",
        billed=30,
        instructed={"parameters": {"return_documents": False, "instruct": INSTRUCTION}},
    ),
    "dashscope_compatible": Recorded(
        FLAT,
        {"object": "list", "results": results(), "model": "m", "id": "r", **_USAGE},
        {401: {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}},
        "/compatible-api/v1/reranks",
        billed=30,
        instructed={"instruct": INSTRUCTION},
    ),
    "deepinfra": Recorded(
        {"queries": [QUERY] * 3, "documents": DOCUMENTS},
        {
            "scores": SCORES,
            "input_tokens": 30,
            "request_id": None,
            "inference_status": {"status": "succeeded", "cost": 0.0},
        },
        {400: {"detail": {"error": "bad query"}}},
        "/v1/inference/Qwen/Qwen3-Reranker-8B",
        model="Qwen/Qwen3-Reranker-8B",
        billed=30,
        instructed={"instruction": INSTRUCTION},
    ),
    "pinecone": Recorded(
        {
            "model": "m",
            "query": QUERY,
            "documents": [{"text": text} for text in DOCUMENTS],
            "rank_fields": ["text"],
            "return_documents": False,
        },
        {"model": "m", "data": results("score"), "usage": {"rerank_units": 1}},
        {400: {"error": {"code": "INVALID_ARGUMENT", "message": "bad query"}, "status": 400}},
        "/rerank",
        header=("Api-Key", KEY),
        billed=1,
    ),
    "zeroentropy": Recorded(
        FLAT,
        {
            "results": results(),
            "actual_latency_mode": "fast",
            "e2e_latency": 0.1,
            "inference_latency": 0.1,
            "total_bytes": 60,
            "total_tokens": 30,
        },
        {422: {"detail": [{"loc": ["body"], "msg": "bad query", "type": "missing"}]}},
        "/v1/models/rerank",
        billed=30,
    ),
    "azure": Recorded(
        FLAT,
        _COHERE,
        {401: {"error": {"code": "401", "message": "Access denied"}}},
        "/providers/cohere/v2/rerank",
        header=("api-key", KEY),
        billed=1,
    ),
    "bedrock": Recorded(
        {
            "queries": [{"type": "TEXT", "textQuery": {"text": QUERY}}],
            "sources": [
                {
                    "type": "INLINE",
                    "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}},
                }
                for text in DOCUMENTS
            ],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": 3,
                    "modelConfiguration": {"modelArn": ARN},
                },
            },
        },
        {"results": results("relevanceScore")},
        {403: {"message": "not authorized to perform: bedrock:Rerank"}},
        "/rerank",
        model=ARN,
    ),
    "vertex": Recorded(
        {
            "model": "m",
            "query": QUERY,
            "records": [{"id": str(n), "content": text} for n, text in enumerate(DOCUMENTS)],
            "topN": 3,
            "ignoreRecordDetailsInResponse": True,
        },
        {"records": [{"id": str(n), "score": SCORES[n]} for n in ORDER]},
        {400: {"error": {"code": 400, "message": "bad query", "status": "INVALID_ARGUMENT"}}},
        "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank",
        base="/v1/projects/p/locations/global",
    ),
}
