"""A branch whose hits a reranker finds worse in search after search is noticed."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import pytest
from qdrant_client import QdrantClient

from vecdb_rerank import BaseReranker, Calibration, Fusion, Policy, Scores, observe
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.search.branch_watch import ENOUGH
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import QdrantConnector


class Overlap(BaseReranker):
    """Relevance is the share of the query's words that a text holds."""

    name = "overlap"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        words = set(query.split())
        return Scores.from_relevance([len(words & set(d.split())) / len(words) for d in documents])


class Foreign(HashEmbedder):
    """Embeds queries in another space than documents."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text[::-1])


@pytest.mark.parametrize(
    ("embedder", "fusion", "noted"),
    [
        (Foreign(), Fusion(), True),
        (HashEmbedder(), Fusion(), False),
        (Foreign(), Fusion(weights=(1, 1)), False),
        (Foreign(), Fusion(branch_quality=(0.5, 0.5)), False),
    ],
    ids=["weak", "sound", "weights-given", "measured"],
)
def test_a_weak_branch_is_noted_after_many_searches_and_logged_once(
    embedder: HashEmbedder, fusion: Fusion, noted: bool, caplog: pytest.LogCaptureFixture
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
        with observe() as outcomes, caplog.at_level(logging.WARNING, "vecdb_rerank"):
            for n in range(ENOUGH + 2):
                query = " ".join(str(documents[n]["text"]).split()[:3])
                connector.search(query, k=30, fusion=fusion)
    notes = [outcome.notes.get("weak_branch") for outcome in outcomes]
    assert not any(notes[: ENOUGH - 1])
    assert all(note and "dense" in note for note in notes[ENOUGH:]) is noted
    assert sum("weak branch" in r.message for r in caplog.records) == noted
