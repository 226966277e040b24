"""Replacements for models: no weights, the same result everywhere."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores


class HashEmbedder:
    """Embeds a text as a unit vector of its words of four letters or more, by feature hashing."""

    name = "hash"

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, which is that of a document with the same text."""
        return self.embed_documents([text])[0]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        for word in re.findall(r"\w{4,}", text.lower()):
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            bucket = int.from_bytes(digest[:4], "big") % self.dimension
            vector[bucket] += 1.0 if digest[4] % 2 else -1.0
        vector[0] += 1e-3  # the zero vector has no direction
        norm = math.sqrt(sum(x * x for x in vector))
        return [x / norm for x in vector]


class KeepingReranker:
    """Keeps the order of the documents."""

    name = "keeping"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Return scores that fall with the position."""
        count = len(documents)
        return Scores.from_relevance([(count - n) / (count + 1) for n in range(count)])


class ReversingReranker:
    """Reverses the order of the documents; no relevance reaches ``best``."""

    name = "reversing"

    def __init__(self, best: float = 1.0) -> None:
        self._best = best

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Return scores that rise with the position."""
        count = len(documents)
        return Scores.from_relevance([self._best * (n + 1) / (count + 1) for n in range(count)])


class RaisingReranker:
    """Fails on every call."""

    name = "raising"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Raise a RuntimeError."""
        raise RuntimeError("the model is on fire")
