"""The wire formats of embedding services: one table.

To add a format, add a row to `FORMATS`, a class like those beside this module, and its settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class EmbedFormat:
    """The requests and responses of one service.

    The request:

    - ``url``: the service's address; None if each user has their own.
    - ``version``, ``path``: what is appended to a bare host, and then the path.
    - ``model``, ``texts``: fields of the request. ``model=None``: the server has one model.
    - ``kind``: the field that says what the texts are: ``query_kind`` or ``document_kind``. A wrong
      one makes searches find less, and nothing fails.
    - ``dimensions``: the field for the length of the vectors.
    - ``constants``: fields that every request has.

    The response:

    - ``results``: the path of the list of results, () if the response is the list.
    - ``index``, ``vector``: the fields of a result; None if it is the vector, in the order of the
      texts.
    - ``error``: the path of the message in the body of an error response.

    The limits of one request: ``max_texts``, ``max_tokens`` of all texts, and ``text_tokens`` of
    one text, where a service refuses longer ones instead of cutting them.
    """

    path: str
    url: str | None = None
    version: str = "/v1"
    model: str | None = "model"
    texts: str = "input"
    kind: str | None = None
    query_kind: str = ""
    document_kind: str = ""
    dimensions: str = "dimensions"
    constants: Mapping[str, object] = field(default_factory=dict)
    results: tuple[str, ...] = ("data",)
    index: str | None = "index"
    vector: str | None = "embedding"
    error: tuple[str, ...] = ("error", "message")
    max_texts: int = 2_048
    max_tokens: int | None = None
    text_tokens: int | None = None


# Sources: the API references of OpenAI (also the format of vLLM, Ollama, Azure and others: at most
# 2,048 texts, 300,000 tokens, and 8,192 tokens a text, which is not cut), Cohere (v2 embed: at most
# 96 texts), Voyage AI (at most 1,000 texts; at most 120,000 tokens for the large models, up to
# 1,000,000 for others: the smallest is the default) and Jina AI, and Hugging Face's
# text-embeddings-inference (max-client-batch-size 32; prompts by name).
FORMATS: Mapping[str, EmbedFormat] = {
    "openai": EmbedFormat(
        "/embeddings",
        "https://api.openai.com/v1",
        constants={"encoding_format": "float"},
        max_tokens=300_000,
        text_tokens=8_000,
    ),
    "cohere": EmbedFormat(
        "/embed",
        "https://api.cohere.com",
        version="/v2",
        texts="texts",
        kind="input_type",
        query_kind="search_query",
        document_kind="search_document",
        dimensions="output_dimension",
        constants={"embedding_types": ["float"], "truncate": "END"},
        results=("embeddings", "float"),
        index=None,
        vector=None,
        error=("message",),
        max_texts=96,
    ),
    "tei": EmbedFormat(
        "/embed",
        version="",
        model=None,
        texts="inputs",
        kind="prompt_name",
        constants={"truncate": True},
        results=(),
        index=None,
        vector=None,
        error=("error",),
        max_texts=32,
    ),
    "voyage": EmbedFormat(
        "/embeddings",
        "https://api.voyageai.com/v1",
        kind="input_type",
        query_kind="query",
        document_kind="document",
        dimensions="output_dimension",
        constants={"truncation": True},
        error=("detail",),
        max_texts=1_000,
        max_tokens=120_000,
    ),
    "jina": EmbedFormat(
        "/embeddings",
        "https://api.jina.ai/v1",
        kind="task",
        query_kind="retrieval.query",
        document_kind="retrieval.passage",
        constants={"embedding_type": "float", "truncate": True},
        error=("detail",),
        max_texts=512,
    ),
}


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """What is asked of a service: vectors of texts, all of one ``kind``, of ``dimensions``."""

    model: str | None
    texts: Sequence[str]
    kind: str = ""
    dimensions: int | None = None


def request_body(request: EmbedRequest, wire: EmbedFormat) -> dict[str, object]:
    """Return the JSON body of ``request``."""
    body: dict[str, object] = {} if wire.model is None else {wire.model: request.model}
    body[wire.texts] = list(request.texts)
    if wire.kind is not None and request.kind:
        body[wire.kind] = request.kind
    if request.dimensions is not None:
        body[wire.dimensions] = request.dimensions
    return {**body, **wire.constants}
