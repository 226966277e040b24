"""A catalogue of generated products, and three rerankers of different scales."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker

# The effects are the same in a large catalogue; `VECDB_RERANK_TEST_CATALOGUE=10000` shows it.
SIZE = int(os.environ.get("VECDB_RERANK_TEST_CATALOGUE", "240"))
QUERY = "warm red wool scarf"
BRANDS = ("Alder", "Birch", "Cedar", "Doum")
_KINDS = ("scarf", "hat", "glove", "coat", "sock")
_WORDS = "warm red blue green wool cotton silk striped winter long short soft light".split()


def products(size: int = SIZE) -> list[dict[str, Any]]:
    """Products with stock, price, date and brand; a tenth has no date."""
    rng = random.Random(7)
    today = datetime.now(UTC)
    return [
        {
            "id": n + 1,
            "text": f"{' '.join(rng.sample(_WORDS, 4))} {rng.choice(_KINDS)} number {n}",
            "stock": rng.choice((0, 0, 3, 40)),
            "price": round(rng.uniform(5, 200), 2),
            "added": (today - timedelta(days=rng.randint(0, 900))).isoformat() if n % 10 else None,
            "brand": rng.choice(BRANDS),
        }
        for n in range(size)
    ]


class Overlap(BaseReranker):
    """Scores a text by the words that it shares with the query, on one of two scales."""

    batch = 4
    keeps_deadline = True

    def __init__(self, scale: str) -> None:
        self.scale = scale

    @property
    def name(self) -> str:
        return self.scale

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        words = set(query.split())
        shared = [len(words & set(text.split())) + len(text) % 7 / 10 for text in documents]
        if self.scale == "service":
            return Scores.from_relevance([0.2 + count / 10 for count in shared])
        return Scores.from_logits([6 * count - 14 for count in shared])
