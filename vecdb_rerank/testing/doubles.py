"""Stand-ins for models: no weights, the same answer everywhere."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores


class HashEmbedder:
    """Embeds a text as its longer words, hashed into signed buckets, as a unit vector."""

    name = "hash"

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query: the same as that of a document."""
        return self.embed_documents([text])[0]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of documents."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        for word in re.findall(r"\w{4,}", text.lower()):
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            place = int.from_bytes(digest[:4], "big") % self.dimension
            vector[place] += 1.0 if digest[4] % 2 else -1.0
        vector[0] += 1e-3  # never the zero vector, which has no direction
        norm = math.sqrt(sum(x * x for x in vector))
        return [x / norm for x in vector]


class KeepingReranker:
    """Scores documents so that they stay in the order they came in."""

    name = "keeping"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Scores that fall with the position."""
        count = len(documents)
        return Scores.from_relevance([(count - n) / (count + 1) for n in range(count)])


class ReversingReranker:
    """Scores documents so that their order is reversed; ``best`` bounds the relevance."""

    name = "reversing"

    def __init__(self, best: float = 1.0) -> None:
        self._best = best

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Scores that rise with the position."""
        count = len(documents)
        return Scores.from_relevance([self._best * (n + 1) / (count + 1) for n in range(count)])


class RaisingReranker:
    """Fails."""

    name = "raising"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:  # noqa: ARG002 - the protocol's
        """Raise a RuntimeError."""
        raise RuntimeError("the model is on fire")
