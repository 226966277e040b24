"""Two indices on a real node, and clients that note what goes over the wire."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch, Urllib3HttpConnection
from opensearchpy.exceptions import TransportError

from vecdb_rerank.testing.base import new_name

WORDS = "honey bees dance hive nectar flower queen wax smoke mite drone swarm".split()
LANGUAGES = ("en", "de", "fr")
MAPPING: dict[str, Any] = {
    "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "text": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "year": {"type": "integer"},
    "lang": {"type": "keyword"},
    "date": {"type": "date"},
    "rank": {"type": "rank_feature"},
    "meta": {
        "properties": {
            "n": {"type": "integer"},
            "summary": {"type": "text"},
            "author": {"properties": {"name": {"type": "keyword"}}},
        }
    },
    "tags": {"properties": {"a": {"type": "keyword"}, "b": {"type": "integer"}}},
    "dense": {
        "type": "knn_vector",
        "dimension": 4,
        "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
    },
}


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent, and what came back (None for an error)."""

    method: str
    url: str
    params: Any
    body: Any
    raw: str | None

    @property
    def sent(self) -> Any:
        """The request line and the bytes of the body."""
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return self.method, self.url, dict(self.params or {}), body

    @property
    def response(self) -> Any:
        """The answer."""
        assert self.raw is not None
        return json.loads(self.raw)


def recording(log: list[Exchange]) -> type[Urllib3HttpConnection]:
    """A connection class that notes every exchange."""

    class Recording(Urllib3HttpConnection):
        def perform_request(
            self,
            method: str,
            url: str,
            params: Any = None,
            body: Any = None,
            *rest: Any,
            **more: Any,
        ) -> Any:
            try:
                answer = super().perform_request(method, url, params, body, *rest, **more)
            except TransportError:
                log.append(Exchange(method, url, params, body, None))
                raise
            log.append(Exchange(method, url, params, body, answer[2]))
            return answer

    return Recording


class World:
    """The indices ``one`` (two shards) and ``two``, which holds other documents of equal ids."""

    def __init__(self, client: OpenSearch, log: list[Exchange]) -> None:
        self.client, self.log, self.name = client, log, new_name()
        self.documents: dict[tuple[str, str], Mapping[str, Any]] = {}

    def __repr__(self) -> str:
        return f"World({self.name})"

    @property
    def targets(self) -> list[Any]:
        """One index, and several ways to say both."""
        one, two = f"{self.name}-1", f"{self.name}-2"
        return [one, two, [one, two], f"{one},{two}", f"{self.name}-*", f"alias-{self.name}"]

    @contextmanager
    def watched(self) -> Iterator[list[Exchange]]:
        """What goes over the wire inside the block."""
        self.log.clear()
        yield self.log


@contextmanager
def world(url: str) -> Iterator[World]:
    """The indices, deleted afterwards."""
    log: list[Exchange] = []
    with OpenSearch(url, connection_class=recording(log)) as client:
        made = World(client, log)
        for number, count in ((1, 70), (2, 40)):
            index = f"{made.name}-{number}"
            settings = {"knn": True, "number_of_shards": 3 - number, "number_of_replicas": 0}
            client.indices.create(
                index=index,
                body={"settings": {"index": settings}, "mappings": {"properties": MAPPING}},
            )
            made.documents |= {(index, str(n)): document(number, n) for n in range(count)}
        client.indices.put_alias(index=f"{made.name}-*", name=f"alias-{made.name}")
        lines: list[Any] = []
        for (index, doc_id), source in made.documents.items():
            lines += [{"index": {"_index": index, "_id": doc_id}}, source]
        assert not client.bulk(body=lines, refresh=True)["errors"]
        client.indices.forcemerge(index=f"{made.name}-*", max_num_segments=1)
        try:
            yield made
        finally:
            client.indices.delete(index=f"{made.name}-1,{made.name}-2")


def document(number: int, n: int) -> dict[str, Any]:
    """A document; some have equal text and vectors, some no text."""
    chosen = random.Random(f"{number} {n // 2 if n % 10 < 2 else n}")  # pairs of equal ones
    words = [chosen.choice(WORDS) for _ in range(chosen.randint(2, 9))]
    source: dict[str, Any] = {
        "title": " ".join(words[:2]),
        "text": " ".join(["bees", *words]),
        "year": 2000 + n % 7,
        "lang": LANGUAGES[n % 3],
        "date": f"2024-01-{n % 28 + 1:02}",
        "rank": n % 13 + 1,
        "meta": {"n": n, "summary": f"on {words[0]}", "author": {"name": words[-1]}},
        "tags": [{"a": words[0], "b": n % 4}, {"a": words[1], "b": n % 5}],
        "dense": [chosen.uniform(0.1, 1) for _ in range(4)],
    }
    if n % 9 == 8:
        del source["text"], source["title"]
    return source
