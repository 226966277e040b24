"""Search notes by BM25: search.py with qdrant-client only, reranked.py with a wrapped client."""

import sys

from qdrant_client import QdrantClient, models

from vecdb_rerank_qdrant import RerankingQdrantClient

NOTES = [
    "How do I write a commit message? Say what the commit does, and why.",
    "How do I sign a commit? Set up a key, then pass -S to the commit.",
    "To take back the latest change, run git revert HEAD; the history stays as it was.",
    "How do I undo a stash? Run git stash apply.",
    "Branches are cheap; make one for every change.",
]

client = RerankingQdrantClient(QdrantClient(":memory:"))


def fill() -> None:
    index = models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=True)
    client.create_collection("notes", vectors_config={})
    client.create_payload_index("notes", "text", index)
    client.upsert(
        "notes",
        [models.PointStruct(id=n, vector={}, payload={"text": t}) for n, t in enumerate(NOTES)],
    )


def search(question: str) -> None:
    response = client.query_points(
        "notes", query=models.TextQuery(text=question), using="text", limit=2
    )
    for point in response.points:
        print(f"{point.score:.2f}  {point.payload['text']}")


if __name__ == "__main__":
    fill()
    search(" ".join(sys.argv[1:]) or "how do I revert my latest commit?")
