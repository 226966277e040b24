"""A window of 500, walked in pages of 7: each hit once, and what comes after it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from qdrant_client.http import models

from tests.contract.backends import SERVED, qdrant_client
from tests.dropin.qdrant.conftest import synchronous
from vecdb_rerank import Deadline, Policy, Scores, observe
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import Bm25, RerankingQdrantClient
from vecdb_rerank_qdrant.client import is_local

WINDOW, PAGE, COUNT = 500, 7, 520
QUERY = "harbour"


class Opinionated:
    """Scores a document by a hash of its text: the same everywhere, and like no first pass."""

    name = "opinionated"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        digests = [hashlib.blake2b(text.encode(), digest_size=4).digest() for text in documents]
        return Scores.from_relevance([int.from_bytes(d, "big") / 2**32 for d in digests])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pages" in metafunc.fixturenames:
        metafunc.parametrize("pages", synchronous(), indirect=True, scope="module")


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest) -> Iterator[Any]:
    """``pages(kind)``: the ids page by page until one is empty, and the outcomes."""
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    client = qdrant_client(name, *server, check_compatibility=False)
    collection = new_name()
    client.create_collection(
        collection,
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    client.upsert(collection, list(documents()), wait=True)
    wrapped = RerankingQdrantClient(client, Opinionated(), k=WINDOW, policy=Policy(deadline=None))

    @cache
    def walk(kind: str) -> tuple[list[list[Any]], list[Any]]:
        arguments = asked(kind, is_local(client))
        found = []
        with observe() as outcomes:
            for offset in range(0, COUNT + PAGE, PAGE):
                points = wrapped.query_points(
                    collection, limit=PAGE, offset=offset, rerank_query=QUERY, **arguments
                ).points
                found.append([point.id for point in points])
        return found, outcomes

    yield walk
    client.delete_collection(collection)
    client.close()


def documents() -> Iterator[models.PointStruct]:
    """Each has distinct scores: equal ones come in any order, from page to page of Qdrant's."""
    drawn = random.Random(3)
    for n in range(COUNT):
        # n = 20 a + b: b times the word, in a document of a certain length.
        body = " ".join(["harbour"] * (1 + n % 20) + [f"filler{n}x{m}" for m in range(n // 20)])
        vector = [drawn.random() for _ in range(4)]
        yield models.PointStruct(
            id=n + 1,
            vector={"dense": vector, "bm25": Bm25().document(body)},
            payload={"text": body},
        )


def asked(kind: str, local: bool) -> dict[str, Any]:
    vector = [1.0, 0.2, 0.4, 0.6]
    sparse = Bm25().query(QUERY) if local else models.Document(text=QUERY, model="qdrant/bm25")
    if kind == "dense":
        return {"query": vector, "using": "dense"}
    if kind == "bm25":
        return {"query": sparse, "using": "bm25"}
    return {
        "prefetch": [
            models.Prefetch(query=vector, using="dense"),
            models.Prefetch(query=sparse, using="bm25"),
        ],
        "query": models.RrfQuery(rrf=models.Rrf(k=60)),
    }


@pytest.mark.parametrize("kind", ["dense", "bm25", "hybrid"])
def test_a_window_of_500_in_pages_of_7_has_each_hit_once(pages: Any, kind: str) -> None:
    found, _ = pages(kind)
    window = [hit for page in found for hit in page][:WINDOW]
    assert len(window) == len(set(window)) == WINDOW
    assert window != sorted(window)


def test_past_the_window_dense_pages_go_on_in_the_databases_order(pages: Any) -> None:
    found, outcomes = pages("dense")
    everything = [hit for page in found for hit in page]
    assert len(everything) == len(set(everything)) == COUNT
    assert [o.status for o in outcomes] == ["reranked"] * 72 + ["skipped"] * 4
    assert "past the 500 hits" in outcomes[-1].reason


@pytest.mark.parametrize("kind", ["bm25", "hybrid"])
def test_past_the_window_others_end_and_the_outcome_says_so(pages: Any, kind: str) -> None:
    found, outcomes = pages(kind)
    assert [len(page) for page in found] == [PAGE] * 71 + [3] + [0] * 4
    assert [o.reason for o in outcomes[:71]] == [None] * 71
    assert outcomes[71].reason == "pages end after the 500 hits that are reranked"
    assert all("past the 500 hits" in o.reason for o in outcomes[72:])
