"""Search notes by BM25: search.py with opensearch-py only, reranked.py with a wrapped client."""

import os
import sys

from opensearchpy import OpenSearch

NOTES = [
    "How do I write a commit message? Say what the commit does, and why.",
    "How do I sign a commit? Set up a key, then pass -S to the commit.",
    "To take back the latest change, run git revert HEAD; the history stays as it was.",
    "How do I undo a stash? Run git stash apply.",
    "Branches are cheap; make one for every change.",
]
INDEX = "drop-in-notes"
URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")

client = OpenSearch(URL)


def fill() -> None:
    for n, text in enumerate(NOTES):
        client.index(index=INDEX, id=str(n), body={"text": text})
    client.indices.refresh(index=INDEX)


def search(question: str) -> None:
    response = client.search(index=INDEX, body={"query": {"match": {"text": question}}, "size": 2})
    for hit in response["hits"]["hits"]:
        print(f"{hit['_score']:.2f}  {hit['_source']['text']}")


if __name__ == "__main__":
    fill()
    search(" ".join(sys.argv[1:]) or "how do I revert my latest commit?")
    client.indices.delete(index=INDEX)
    client.close()
