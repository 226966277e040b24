"""Requests to score pairs of texts, and the answers, in vLLM's shape."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vecdb_rerank.server.errors import ApiError, Json, wrong
from vecdb_rerank.server.requests import fields
from vecdb_rerank.server.requests.fields import Body
from vecdb_rerank.server.rerank.body import cut_of
from vecdb_rerank.server.rerank.documents import Cut

# The names of the two sides, the newest first (vLLM, ``entrypoints/pooling/score/protocol.py``).
_SIDES = (
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
    ("text_1", "text_2"),
)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Pairs of texts to score: ``queries[n]`` with ``documents[n]``, equally many of each."""

    queries: Sequence[str]
    documents: Sequence[str]
    model: str | None
    cut: Cut
    instruction: str | None
    raw: bool

    def by_query(self) -> dict[str, list[int]]:
        """Return the places of the pairs of each query."""
        found: dict[str, list[int]] = {}
        for n, query in enumerate(self.queries):
            found.setdefault(query, []).append(n)
        return found


def parse(body: Body, most: int) -> ScoreRequest:
    """Return the request that ``body`` makes, of at most ``most`` pairs.

    One text on the first side is scored with each on the second. Raises `ApiError` that names the
    field which is wrong.
    """
    given = [pair for pair in _SIDES if pair[0] in body and pair[1] in body]
    if not given:
        raise wrong("text_1", "is missing; send text_1 and text_2, or queries and documents")
    first, second = given[0]
    queries, documents = _side(body, first, most), _side(body, second, most)
    if len(queries) not in (1, len(documents)):
        raise wrong(
            first, f"must hold 1 text or as many as {second} ({len(documents)}), got {len(queries)}"
        )
    activated = (fields.flag(body, n, default=True) for n in ("use_activation", "activation"))
    return ScoreRequest(
        queries * len(documents) if len(queries) == 1 else queries,
        documents,
        fields.optional_text(body, "model"),
        cut_of(body),
        fields.optional_text(body, "instruction"),
        raw=not all(activated),
    )


def _side(body: Body, name: str, most: int) -> list[str]:
    if isinstance(body[name], str):
        return [fields.text(body, name)]
    found = fields.texts(body, name, most)
    if not all(one.strip() for one in found) and name in {first for first, _ in _SIDES}:
        raise ApiError(400, "must not hold an empty text", field=name)
    return found


def answer(request_id: str, model: str, scores: Sequence[float], tokens: int) -> Json:
    """Return the body of the answer: a score for each pair, in their order."""
    return {
        "id": request_id,
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [{"index": n, "object": "score", "score": s} for n, s in enumerate(scores)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
