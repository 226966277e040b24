"""Answers to rerank requests: pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from vecdb_rerank.server.errors import Json
from vecdb_rerank.server.rerank.body import RerankRequest
from vecdb_rerank.server.rerank.documents import shown
from vecdb_rerank.server.rerank.scoring import Scored


def answer(
    request: RerankRequest,
    scored: Scored,
    *,
    request_id: str,
    model: str,
    document: Literal["object", "string"],
) -> Json:
    """Return the body that clients of Cohere, Jina, vLLM, LiteLLM and Infinity read.

    ``document`` says how documents are written if the request wants them.
    """
    results: list[Json] = [
        {"index": n, "relevance_score": scored.relevance[n]} for n in scored.order[: request.top_n]
    ]
    if request.return_documents:
        for result in results:
            n = result["index"]
            assert isinstance(n, int)
            text = scored.texts[n]
            whole = document == "object"
            result["document"] = shown(request.documents[n], text) if whole else text
    meta: Json = {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": scored.search_units},
        "tokens": {"input_tokens": scored.tokens},
    }
    if warnings := list(_warnings(scored)):
        meta["warnings"] = warnings
    return {
        "id": request_id,
        "object": "rerank",
        "model": model,
        "results": results,
        "meta": meta,
        "usage": {"prompt_tokens": scored.tokens, "total_tokens": scored.tokens},
    }


def _warnings(scored: Scored) -> Iterator[str]:
    if scored.unread:
        yield (
            f"{scored.unread} of {len(scored.raw)} documents were not scored before the deadline; "
            "they come last, with a score of 0"
        )
    if "instruction_unused" in scored.outcome.notes:
        yield "the reranker has no place for an instruction; it read the query alone"


def tei_answer(request: RerankRequest, scored: Scored) -> list[Json]:
    """Return the body that clients of text-embeddings-inference read: a list, best first."""
    scores = scored.raw if request.raw else scored.relevance
    return [
        {
            "index": n,
            **({"text": scored.texts[n]} if request.return_documents else {}),
            "score": scores[n],
        }
        for n in scored.order
    ]
