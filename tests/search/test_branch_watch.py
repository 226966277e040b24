"""A branch whose hits a reranker finds worse in search after search is noticed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from qdrant_client import QdrantClient

from vecdb_rerank import BaseReranker, Calibration, Fusion, Policy, Scores, observe
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.search.branch_watch import ENOUGH
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector


def spelled_backwards(text: str) -> str:
    return " ".join(word[::-1] for word in text.split())


class Overlap(BaseReranker):
    """Relevance is the share of the query's words, spelled backwards, that a text holds."""

    name = "overlap"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        words = set(spelled_backwards(query).split())
        return Scores.from_relevance([len(words & set(d.split())) / len(words) for d in documents])


class Knowing(HashEmbedder):
    """Knows the words of a query spelled backwards, which BM25 does not."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(spelled_backwards(text))


@pytest.mark.parametrize(
    ("embedder", "fusion", "noted"),
    [
        (Knowing(), Fusion(), True),
        (HashEmbedder(), Fusion(), False),
        (Knowing(), Fusion(weights=(1, 1)), False),
        (Knowing(), Fusion(branch_quality=(0.5, 0.5)), False),
    ],
    ids=["weak", "sound", "weights-given", "measured"],
)
def test_a_weak_branch_is_noted_after_many_searches(
    embedder: HashEmbedder, fusion: Fusion, noted: bool
) -> None:
    dice = random.Random(3)
    words = ["".join(dice.choices("abdegiklmnoprstu", k=6)) for _ in range(60)]
    documents = [{"id": n, "text": " ".join(dice.choices(words, k=8))} for n in range(80)]
    with QdrantConnector(
        QdrantClient(":memory:"),
        "docs",
        embedder=embedder,
        reranker=Overlap(),
        policy=Policy(calibration={"overlap": Calibration()}),
        close_client=True,
    ) as connector:
        connector.create()
        connector.add(documents)
        with observe() as outcomes:
            for n in range(ENOUGH + 2):
                said, meant = (str(documents[i]["text"]).split()[:3] for i in (n, n + 9))
                query = " ".join([said[0], *(word[::-1] for word in meant)])
                connector.search(query, k=30, fusion=fusion)
    notes = [outcome.notes.get("weak_branch") for outcome in outcomes]
    assert not any(notes[: ENOUGH - 1])
    assert all(note and "bm25" in note for note in notes[ENOUGH:]) is noted
