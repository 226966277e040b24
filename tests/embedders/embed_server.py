"""Embedding services on loopback: each answers in its own format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.scripted_server import Answer, Body, Script
from vecdb_rerank import (
    CohereEmbedder,
    JinaEmbedder,
    OpenAIEmbedder,
    TeiEmbedder,
    VoyageEmbedder,
)
from vecdb_rerank.embedders.formats import FORMATS
from vecdb_rerank.embedders.remote import RemoteEmbedder
from vecdb_rerank.testing import HashEmbedder

KINDS: dict[str, type[RemoteEmbedder]] = {
    "openai": OpenAIEmbedder,
    "cohere": CohereEmbedder,
    "tei": TeiEmbedder,
    "voyage": VoyageEmbedder,
    "jina": JinaEmbedder,
}
OPEN: list[RemoteEmbedder] = []  # closed after each test
Embed = Callable[[str, str], Sequence[float]]  # of a text and its kind


def made(kind: str, url: str, **options: Any) -> RemoteEmbedder:
    """The embedder of a format, for a server on loopback."""
    model = None if kind == "tei" else "m"
    made = KINDS[kind](**{"model": model, "url": url, "retries": 0, **options})
    OPEN.append(made)
    return made


def texts_of(kind: str, body: Body) -> list[str]:
    texts: list[str] = body[FORMATS[kind].texts]
    return texts


def answer(kind: str, vectors: Sequence[Any]) -> Answer:
    """A response of this format; results with an index come in another order."""
    if kind == "tei":
        return Answer(list(vectors))
    if kind == "cohere":
        return Answer({"id": "1", "embeddings": {"float": list(vectors)}, "meta": {}})
    data = [
        {"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)
    ]
    return Answer({"object": "list", "data": data[::-1], "usage": {"total_tokens": 9}})


def embeds(kind: str, embed: Embed) -> Script:
    """A service that makes the vector of a text by ``embed``."""

    def script(body: Body) -> Answer:
        named = str(body.get(FORMATS[kind].kind or "", ""))
        return answer(kind, [list(embed(text, named)) for text in texts_of(kind, body)])

    return script


def by_words(text: str, _kind: str) -> Sequence[float]:
    """Similar texts have similar vectors, of another length than 1."""
    return [3.0 * x for x in HashEmbedder(64).embed_query(text)]
