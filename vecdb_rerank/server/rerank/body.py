"""Requests to rerank, in the shapes of Cohere v1 and v2, Jina, vLLM, LiteLLM, Infinity and TEI.

A body does not name its client, so one superset is read: fields that it does not have are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from vecdb_rerank._checks import json_kind
from vecdb_rerank.server.errors import wrong
from vecdb_rerank.server.requests import fields
from vecdb_rerank.server.requests.fields import Body
from vecdb_rerank.server.rerank.documents import NOT_CUT, Cut, Document, Side


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Documents to rank by their relevance to ``query``.

    ``top_n`` is the number of results, None for all. ``chunks`` is the most passages that are read
    of a document. ``strict`` means that a text which is too long is an error. ``raw`` asks for the
    model's own numbers.
    """

    query: str
    documents: Sequence[Document]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False
    rank_fields: Sequence[str] = ()
    cut: Cut = NOT_CUT
    chunks: int | None = None
    instruction: str | None = None
    strict: bool = False
    raw: bool = False


def is_tei(body: Body) -> bool:
    """Return whether a request is one of text-embeddings-inference."""
    return "texts" in body and "documents" not in body


def parse(body: Body, most: int) -> RerankRequest:
    """Return the request that ``body`` makes, of at most ``most`` documents.

    Raises `ApiError` that names the field which is wrong.
    """
    return RerankRequest(
        query=fields.text(body, "query"),
        documents=_documents(body, most),
        model=fields.optional_text(body, "model"),
        top_n=fields.count(body, "top_n") or None,  # vLLM sends 0 for all
        return_documents=fields.flag(body, "return_documents"),
        rank_fields=fields.names(body, "rank_fields"),
        cut=cut_of(body),
        chunks=fields.count(body, "max_chunks_per_doc", 1),
        instruction=fields.optional_text(body, "instruction"),
    )


def parse_tei(body: Body, most: int) -> RerankRequest:
    """Return the request that a ``body`` of text-embeddings-inference makes; see `parse`."""
    return RerankRequest(
        query=fields.text(body, "query"),
        documents=fields.texts(body, "texts", most),
        model=fields.optional_text(body, "model"),
        return_documents=fields.flag(body, "return_text"),
        cut=Cut(side=_side(body, "truncation_direction")),
        strict=not fields.flag(body, "truncate", default=True),
        raw=fields.flag(body, "raw_scores"),
    )


def cut_of(body: Body) -> Cut:
    """Return how much of the texts the body says to read.

    By vLLM's rules, -1 tokens together are the model's own limit and 0 are none, which nothing can
    be read of; 0 tokens of a document or a query are no limit.
    """
    together = fields.count(body, "truncate_prompt_tokens", -1)
    if together == 0:
        raise wrong("truncate_prompt_tokens", "must be -1 or a whole number from 1, got 0")
    return Cut(
        document=fields.count(body, "max_tokens_per_doc") or None,
        query=fields.count(body, "max_tokens_per_query") or None,
        together=None if together == -1 else together,
        side=_side(body, "truncation_side"),
    )


def _side(body: Body, name: str) -> Side:
    return fields.one_of(body, name, get_args(Side)) or "right"


def _documents(body: Body, most: int) -> Sequence[Document]:
    found = fields.items(body, "documents", most)
    for n, document in enumerate(found):
        if type(document) is not str and not isinstance(document, dict):
            raise wrong(
                f"documents.{n}", f"must be a string or an object, got {json_kind(document)}"
            )
    return found  # type: ignore[return-value]
