"""Which embedding model made the stored vectors: the usual ones, and a proof by comparing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.adopt.description import Sample
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.text_fields import TextFields, as_text, lookup

PROVEN = 0.99  # mean cosine from which the model is the one
LIKELY = 0.75  # the same model with other text around it; other models are near 0
_COMPARED = 3  # documents

# Models that are in wide use, by the size of their vectors; services with the type of embedder.
USUAL: Mapping[int, tuple[str, ...]] = {
    256: ("minishlab/potion-base-8M",),
    384: (
        "BAAI/bge-small-en-v1.5",
        "sentence-transformers/all-MiniLM-L6-v2",
        "intfloat/multilingual-e5-small",
    ),
    512: ("BAAI/bge-small-zh-v1.5", "jinaai/jina-embeddings-v2-small-en"),
    768: (
        "BAAI/bge-base-en-v1.5",
        "sentence-transformers/all-mpnet-base-v2",
        "intfloat/multilingual-e5-base",
        "nomic-ai/nomic-embed-text-v1.5",
    ),
    1024: (
        "BAAI/bge-m3",
        "BAAI/bge-large-en-v1.5",
        "intfloat/multilingual-e5-large",
        "mixedbread-ai/mxbai-embed-large-v1",
        "cohere:embed-multilingual-v3.0",
        "cohere:embed-english-v3.0",
        "voyage:voyage-3.5",
        "jina:jina-embeddings-v3",
    ),
    1536: (
        "openai:text-embedding-3-small",
        "openai:text-embedding-ada-002",
        "cohere:embed-v4.0",
    ),
    2048: ("jina:jina-embeddings-v4", "voyage:voyage-3-large"),
    3072: ("openai:text-embedding-3-large", "Google's gemini-embedding-001"),
    4096: ("Qwen/Qwen3-Embedding-8B", "intfloat/e5-mistral-7b-instruct"),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An embedder that may have made the vectors: its settings, and how well it agrees (cosine).

    ``agreement`` is None if it was not compared: its size differs, or no vectors could be read.
    """

    settings: Mapping[str, str | int]
    agreement: float | None = None

    @property
    def name(self) -> str:
        """The candidate as an option names it."""
        kind = self.settings["type"]
        model = str(self.settings.get("model") or self.settings.get("url", ""))
        return model if model == "bundled" else f"{kind}:{model}"

    @property
    def proven(self) -> bool:
        """Whether it made the vectors."""
        return self.agreement is not None and self.agreement >= PROVEN

    @property
    def likely(self) -> bool:
        """Whether it probably made them, of more text than is known."""
        return self.agreement is not None and self.agreement >= LIKELY


def agreement(
    embedder: Embedder, samples: Sequence[Sample], vector: str, paths: Sequence[str]
) -> float | None:
    """Return the mean cosine of stored vectors with those that ``embedder`` makes of the texts.

    Of the forms in which a text may have been embedded, the one that agrees best counts.
    """
    compared = [s for s in samples if len(s.vectors.get(vector, ())) == embedder.dimension]
    compared = compared[:_COMPARED]
    forms = [_forms(sample.payload, paths) for sample in compared]
    if not compared or not all(forms):
        return None
    texts = [text for each in forms for text in each]
    made = dict(zip(texts, embedder.embed_documents(texts), strict=True))
    return max(
        sum(
            _cosine(made[each[n]], sample.vectors[vector])
            for each, sample in zip(forms, compared, strict=True)
        )
        / len(compared)
        for n in range(len(forms[0]))
    )


def _forms(payload: Mapping[str, object], paths: Sequence[str]) -> list[str]:
    """Return the texts that may have been embedded: the longest field, all, all with metadata."""
    texts = [as_text(lookup(payload, path)) for path in paths]
    main = max(texts, key=len, default="")
    if not main:
        return []
    return [main, TextFields(tuple(paths)).text(payload), _with_metadata(payload, main)]


def _with_metadata(payload: Mapping[str, object], text: str) -> str:
    """Return the text below its metadata, as frameworks write it: a line ``key: value`` each."""
    for holder in _strings(payload):
        metadata = lookup(holder, "metadata")
        if isinstance(metadata, Mapping):
            hidden = lookup(holder, "excluded_embed_metadata_keys")
            left_out = hidden if isinstance(hidden, list) else ()
            lines = [f"{key}: {value}" for key, value in metadata.items() if key not in left_out]
            return "\n".join(lines) + f"\n\n{text}" if lines else text
    return text


def _strings(payload: Mapping[str, object]) -> Iterator[str]:
    """Yield the strings of a payload, and of the objects in it, one of which may hold a node."""
    for value in payload.values():
        inner = value.values() if isinstance(value, Mapping) else (value,)
        yield from (each for each in inner if isinstance(each, str))


def _cosine(a: Vector, b: Vector) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.hypot(*a) * math.hypot(*b)
    return float(dot / lengths) if lengths else 0.0
