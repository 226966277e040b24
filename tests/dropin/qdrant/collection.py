"""One collection with all that a request can ask of Qdrant, and clients that record what passed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.http import models

from tests.contract.backends import SERVED, qdrant_client
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import Bm25
from vecdb_rerank_qdrant.client import is_local

COUNT = 130
WORDS = "harbour lantern orchard copper velvet thunder granite meadow saffron glacier".split()
DENSE, DISTANT, MANY, SPARSE = "dense", "distant", "many", "sparse"
DIMENSION = 4


@dataclass
class Call:
    """One call that went through a client: its arguments, and a copy of what came back."""

    method: str
    arguments: dict[str, Any]
    response: Any = None


class _Noting:
    """Mixin: notes each query that passes."""

    calls: list[Call]

    def note(self, method: str, arguments: dict[str, Any]) -> Call:
        call = Call(method, arguments)
        self.calls.append(call)
        return call


class Recording(_Noting, QdrantClient):
    """A client that notes its queries."""

    def query_points(self, *args: Any, **kwargs: Any) -> Any:
        assert not args
        call = self.note("query_points", kwargs)
        response = super().query_points(**kwargs)
        call.response = deepcopy(response)
        return response

    def query_batch_points(self, *args: Any, **kwargs: Any) -> Any:
        assert not args
        call = self.note("query_batch_points", kwargs)
        response = super().query_batch_points(**kwargs)
        call.response = deepcopy(response)
        return response

    def query_points_groups(self, *args: Any, **kwargs: Any) -> Any:
        assert not args
        call = self.note("query_points_groups", kwargs)
        response = super().query_points_groups(**kwargs)
        call.response = deepcopy(response)
        return response


class AsyncRecording(_Noting, AsyncQdrantClient):
    """The same, asynchronous."""

    async def query_points(self, *args: Any, **kwargs: Any) -> Any:
        call = self.note("query_points", kwargs)
        call.response = await super().query_points(**kwargs)
        return deepcopy(call.response)

    async def query_batch_points(self, *args: Any, **kwargs: Any) -> Any:
        call = self.note("query_batch_points", kwargs)
        call.response = await super().query_batch_points(**kwargs)
        return deepcopy(call.response)

    async def query_points_groups(self, *args: Any, **kwargs: Any) -> Any:
        call = self.note("query_points_groups", kwargs)
        call.response = await super().query_points_groups(**kwargs)
        return deepcopy(call.response)


@dataclass
class World:
    """A filled collection behind a recording client."""

    backend: str
    client: Any
    name: str
    bodies: list[bytes] = field(default_factory=list)
    generated: int = 0

    @property
    def calls(self) -> list[Call]:
        return self.client.calls

    @property
    def local(self) -> bool:
        return is_local(self.client)


@contextmanager
def opened(backend: str, *server: Any) -> Iterator[World]:
    """The collection behind a synchronous client of the kind ``backend``."""
    client: Any = qdrant_client(backend, *server, check_compatibility=False, kind=Recording)
    client.calls = []
    world = World(backend, client, new_name())
    fill(client, world.name)
    if backend == "qdrant-rest":
        client.http.client.add_middleware(_noting_bodies(world.bodies))
    try:
        yield world
    finally:
        client.delete_collection(world.name)
        client.close()


def _noting_bodies(bodies: list[bytes]) -> Any:
    def middleware(request: Any, call_next: Any) -> Any:
        if "/points/query" in request.url.path:
            bodies.append(request.method.encode() + bytes(request.url.raw_path) + request.content)
        return call_next(request)

    return middleware


def fill(client: Any, name: str) -> None:
    """Create the collection and its points."""
    cosine = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection(
        name,
        vectors_config={
            DENSE: cosine,
            DISTANT: models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID),
            MANY: models.VectorParams(
                size=DIMENSION,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(
                    comparator=models.MultiVectorComparator.MAX_SIM
                ),
            ),
        },
        sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    client.upsert(name, points(), wait=True)
    if not is_local(client):
        client.create_payload_index(name, "meta.n", models.PayloadSchemaType.INTEGER, wait=True)
        client.create_payload_index(name, "topic", models.PayloadSchemaType.KEYWORD, wait=True)


def point_id(n: int) -> int | str:
    """Ids of both kinds."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))) if n % 3 == 0 else n + 1


def points() -> list[models.PointStruct]:
    """Documents whose texts all differ, and some of whose scores do not."""
    drawn = random.Random(7)
    return [
        models.PointStruct(
            id=point_id(n),
            vector={
                DENSE: vector(drawn),
                DISTANT: vector(drawn),
                MANY: [vector(drawn) for _ in range(1 + n % 3)],
                SPARSE: Bm25().document(body),
            },
            payload=payload(n, body),
        )
        for n in range(COUNT)
        for body in [" ".join(drawn.choices(WORDS, k=12)) + f" number{n}"]
    ]


def payload(n: int, body: str) -> dict[str, Any]:
    return {
        "title": f"Title {n}",
        "text": body,
        "topic": WORDS[n % 7],
        "meta": {"n": n, "s": f"summary {n}", "deep": {"a": n % 5, "b": [n]}},
        "tags": [{"a": f"tag {n}", "b": n}, {"b": n + 1}, n],
        "a.b": f"dotted {n}",
        "with space": f"spaced {n}",
        "none": None,
        "empty": {},
        **({} if n % 4 else {"sometimes": n}),
    }


def vector(drawn: random.Random) -> list[float]:
    """A coarse vector: equal ones happen, and with them equal scores."""
    return [drawn.choice((0.25, 0.5, 0.75, 1.0)) for _ in range(DIMENSION)]


BACKENDS = ("qdrant-local", *(name for name in SERVED if not name.endswith("async")))
