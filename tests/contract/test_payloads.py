"""Payloads that come for the page alone, and texts inside a stored string."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from qdrant_client.models import Filter

from tests.contract.backends import Backend
from vecdb_rerank import Outcome, observe
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.testing import HashEmbedder, RaisingReranker, ReversingReranker
from vecdb_rerank.testing.base import new_name
from vecdb_rerank.text_fields import TextFields

EMBEDDER = HashEmbedder(4)
QUERY = "honey bees dance"
NODE_TEXT = TextFields(("_node_content.text",))


def documents(size: int) -> list[dict[str, Any]]:
    """Documents with ``size`` characters that no search reads, and a text inside a JSON string."""
    texts = [f"honey bees dance number{n} " + "and rest " * (n % 5) for n in range(30)]
    return [
        {
            "id": n + 1,
            "text": text,
            "filling": "x" * size,
            "meta": {"n": n},
            "_node_content": json.dumps({"id_": "a", "text": text}),
        }
        for n, text in enumerate(texts)
    ]


def opened(backend: Backend, size: int) -> Iterator[str]:
    name = new_name()
    connector = backend.connect(name, embedder=EMBEDDER, reranker=None)
    backend.call(connector.create())
    # In small requests: aiohttp warns about bodies of a megabyte.
    assert backend.call(connector.add(documents(size), batch_size=4)).added == 30
    yield name
    with suppress(Exception):
        backend.call(connector.delete())


@pytest.fixture
def small(backend: Backend) -> Iterator[str]:
    yield from opened(backend, 10)


@pytest.fixture
def large(backend: Backend) -> Iterator[str]:
    yield from opened(backend, 100_000)


def connect(backend: Backend, name: str, **options: Any) -> Any:
    return backend.connect(
        name, **{"embedder": EMBEDDER, "reranker": ReversingReranker(), **options}
    )


def search(backend: Backend, connector: Any, **options: Any) -> tuple[list[Any], Outcome]:
    """The hits of a search as plain data, and its outcome."""
    with observe() as outcomes:
        response = backend.call(connector.search(QUERY, **{"k": 20, "limit": 4, **options}))
    shown = response if isinstance(response, dict) else response.model_dump()
    hits: list[Any] = shown["hits"]["hits"] if "hits" in shown else shown["points"]
    return hits, outcomes[0]


def payload_of(hit: Any) -> Any:
    return hit["payload"] if "payload" in hit else hit.get("_source")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("offset", [0, 3])
def test_hits_are_the_same_either_way(backend: Backend, small: str, mode: Any, offset: int) -> None:
    connector = connect(backend, small)
    options = {"mode": mode, "offset": offset}
    plain, _ = search(backend, connector, payload="all", **options)
    paged, outcome = search(backend, connector, payload="page", **options)
    assert paged == plain
    assert "payload" in outcome.timings
    assert all(payload_of(hit)["meta"] for hit in paged)


def test_a_failing_reranker_costs_no_payload(backend: Backend, small: str) -> None:
    connector = connect(backend, small, reranker=RaisingReranker())
    hits, outcome = search(backend, connector, payload="page")
    assert outcome.status == "fell_back"
    assert all("filling" in payload_of(hit) for hit in hits)


def test_large_payloads_come_for_the_page_alone_once_they_are_known(
    backend: Backend, large: str
) -> None:
    connector = connect(backend, large)
    first, outcome = search(backend, connector)
    assert "payload" not in outcome.timings
    again, outcome = search(backend, connector)
    assert "payload" in outcome.timings
    assert again == first
    _, outcome = search(backend, connector, limit=20)  # no hit is left out
    assert "payload" not in outcome.timings
    _, outcome = search(backend, connector, payload="all")
    assert "payload" not in outcome.timings


def test_small_payloads_come_at_once(backend: Backend, small: str) -> None:
    connector = connect(backend, small, defaults=SearchDefaults(k=20, limit=4))
    for _ in range(2):
        _, outcome = search(backend, connector)
        assert "payload" not in outcome.timings


class Deleting(ReversingReranker):
    """Deletes the collection's documents before it scores."""

    def __init__(self, backend: Backend, name: str) -> None:
        super().__init__()
        self._backend, self._collection = backend, name

    def score(self, *arguments: Any, **options: Any) -> Any:
        client, name = self._backend.client, self._collection
        if self._backend.name == "opensearch":
            body: dict[str, Any] = {"query": {"match_all": {}}}
            client.delete_by_query(index=name, body=body, refresh=True)
        else:
            client.delete(name, Filter(), wait=True)
        return super().score(*arguments, **options)


def test_documents_that_are_gone_keep_their_text(backend: Backend, small: str) -> None:
    if backend.name.endswith("async"):
        pytest.skip("a reranker does not await a client")
    connector = connect(backend, small, reranker=Deleting(backend, small))
    hits, outcome = search(backend, connector, payload="page", mode="dense")
    assert outcome.status == "reranked"
    assert [set(payload_of(hit)) for hit in hits] == [{"text"}] * 4


@pytest.mark.parametrize("payload", ["all", "page"])
@pytest.mark.parametrize("narrowed", ["nothing", "fields", "whole"])
def test_a_text_inside_a_stored_string_is_read_whatever_the_caller_selects(
    backend: Backend, small: str, payload: Any, narrowed: str
) -> None:
    name = "with_payload" if backend.name.startswith("qdrant") else "_source"
    selections: dict[str, dict[str, Any]] = {
        "nothing": {name: False},
        "fields": {name: ["meta"]},
        "whole": {},
    }
    selection = selections[narrowed]
    connector = connect(backend, small, text_fields=NODE_TEXT)
    hits, outcome = search(backend, connector, mode="dense", payload=payload, **selection)
    assert outcome.status == "reranked"
    assert outcome.scored == 20
    assert all("_node_content" not in hit.get("fields", {}) for hit in hits)
    shown = [payload_of(hit) for hit in hits]
    if narrowed == "nothing":
        assert shown == [None] * 4
    elif narrowed == "fields":
        assert all(list(each) == ["meta"] for each in shown)
    else:
        assert all({"meta", "_node_content", "text"} <= set(each) for each in shown)
