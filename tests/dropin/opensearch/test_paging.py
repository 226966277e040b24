"""A window of 500, walked in pages of 7: each hit once, and what comes after it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError

from vecdb_rerank import Deadline, Outcome, Policy, Scores, observe
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_opensearch import RerankingOpenSearch

WINDOW, PAGE, COUNT = 500, 7, 540
QUERY = "harbour"
RRF = {"score-ranker-processor": {"combination": {"technique": "rrf"}}}
MATCH = {"match": {"text": QUERY}}
KNN = {"knn": {"dense": {"vector": [1.0, 0.2, 0.1, 0.4], "k": COUNT}}}
BODIES: dict[str, dict[str, Any]] = {
    "bm25": {"query": MATCH},
    "dense": {"query": KNN},
    "hybrid": {
        "query": {"hybrid": {"queries": [MATCH, KNN], "pagination_depth": COUNT}},
        "search_pipeline": {"phase_results_processors": [RRF]},
    },
}


class Opinionated:
    """Scores a document by a hash of its text: the same everywhere, and like no first pass."""

    name = "opinionated"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        digests = [hashlib.blake2b(text.encode(), digest_size=4).digest() for text in documents]
        return Scores.from_relevance([int.from_bytes(d, "big") / 2**32 for d in digests])


@pytest.fixture(scope="module")
def index(opensearch_url: str) -> Iterator[tuple[OpenSearch, str]]:
    drawn, name = random.Random(0), new_name()
    dense = {
        "type": "knn_vector",
        "dimension": 4,
        "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
    }
    settings = {"knn": True, "number_of_shards": 2, "number_of_replicas": 0}
    body = {
        "settings": {"index": settings},
        "mappings": {"properties": {"text": {"type": "text"}, "dense": dense}},
    }
    with OpenSearch(opensearch_url) as client:
        client.indices.create(index=name, body=body)
        lines: list[Any] = []
        for n in range(COUNT):
            # Few lengths and few vectors: many hits have equal scores, also where a window ends.
            text = " ".join([QUERY, *["ship"] * (n % 3), f"number{n}"])
            vector = [1.0, *(drawn.randint(0, 2) / 2 for _ in range(3))]
            lines += [{"index": {"_index": name, "_id": n}}, {"text": text, "dense": vector}]
        assert not client.bulk(body=lines, refresh=True)["errors"]
        yield client, name
        client.indices.delete(index=name)


def walk(
    index: tuple[OpenSearch, str], kind: str, window: int, size: int, until: int = COUNT
) -> tuple[list[list[str]], list[Outcome]]:
    """The ids page by page until there are no more, and the outcomes."""
    client, name = index
    policy = Policy(deadline=None)
    wrapped = RerankingOpenSearch(client, Opinionated(), k=window, policy=policy)
    pages: list[list[str]] = []
    with observe() as outcomes:
        for start in range(0, until + size, size):
            try:
                response = wrapped.search(
                    index=name, body=BODIES[kind], size=size, from_=start, rerank_query=QUERY
                )
            except RequestError as error:  # OpenSearch's own way to end a hybrid query's pages
                assert "Reached end of search result" in str(error.info)
                break
            pages.append([hit["_id"] for hit in response["hits"]["hits"]])
    return pages, outcomes


@pytest.mark.parametrize("kind", BODIES)
def test_pages_of_a_window_hold_each_hit_once(index: Any, kind: str) -> None:
    pages, outcomes = walk(index, kind, WINDOW, PAGE)
    found = [hit for page in pages for hit in page]
    assert len(found) == len(set(found)) == COUNT
    inside = WINDOW // PAGE + 1  # the last of them goes on past the window
    assert {outcome.status for outcome in outcomes[:inside]} == {"reranked"}
    past = [outcome for outcome in outcomes[inside:] if outcome.seen or outcome.reason]
    assert {outcome.status for outcome in past} == {"skipped"}
    assert "past the 500 hits" in str(past[0].reason)
    (whole, *_), _ = walk(index, kind, WINDOW, WINDOW, until=0)
    assert found[:WINDOW] == whole


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("size", [4, 9])
def test_ties_at_the_end_of_a_window_are_no_gap(index: Any, kind: str, size: int) -> None:
    pages, _ = walk(index, kind, 50, size, until=70)
    found = [hit for page in pages for hit in page]
    assert len(found) == len(set(found))
    assert len(found) >= 70
