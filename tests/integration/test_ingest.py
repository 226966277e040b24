"""Adding documents while things go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.backends import OPENSEARCH
from tests.integration.clients import MODELS, opensearch
from tests.servers import Node, free_port
from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.errors import IngestError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.testing.base import everything, ids, new_name, one_line

COUNT = 2_000


def test_server_that_is_killed(second_node: Node) -> None:
    """A server killed in the middle and started again has every document exactly once."""
    embedder = FunctionEmbedder(MODELS["embedder"].embed_documents)
    reached = threading.Event()

    def watch(done: int) -> None:
        if done >= COUNT // 4:
            reached.set()

    def documents() -> Iterator[Document]:
        for number in range(COUNT):
            if number == COUNT // 2:  # not faster than the test can kill
                assert killed.wait(60)
            yield Document(f"doc-{number}", {"text": f"document {number}"})

    killed = threading.Event()
    collection = new_name()
    with (
        opensearch("opensearch", second_node.url, collection, embedder=embedder) as (connector, _),
        ThreadPoolExecutor(1) as pool,
    ):
        connector.create()
        adding = pool.submit(connector.add, documents(), batch_size=50, on_progress=watch)
        assert reached.wait(60)
        second_node.kill()
        killed.set()
        second_node.start()
        report = adding.result(120)
        assert (report.added, report.failed) == (COUNT, ())
        assert report.retries > 0
        client: Any = connector.client
        assert client.count(index=collection)["count"] == COUNT
        body = {"query": {"match_all": {}}, "size": COUNT, "_source": False}
        hits = client.search(index=collection, body=body)["hits"]["hits"]
        assert {hit["_id"] for hit in hits} == {f"doc-{n}" for n in range(COUNT)}
        connector.delete()


@pytest.mark.parametrize("name", OPENSEARCH)
def test_mapping_conflicts(name: str, opensearch_url: str) -> None:
    """Documents that contradict the mapping are named with the reason; the others are stored."""
    good = [Document(f"good-{n}", {"text": f"good {n}", "price": n}) for n in range(8)]
    bad = [
        Document("word", {"text": "a word for a number", "price": "cheap"}),
        Document("object", {"text": "an object for a number", "price": {"amount": 1}}),
        Document("text", {"text": {"an object": "for a text"}}),
    ]
    with opensearch(name, opensearch_url, new_name()) as (connector, call):
        call(connector.create())
        report = call(connector.add([*good[:4], *bad, *good[4:]]))
        assert {failure.id for failure in report.failed} == {"word", "object", "text"}
        assert report.added == len(good)
        assert report.retries == 0
        for failure in report.failed:
            assert "\n" not in failure.reason
            assert ("price" if failure.id != "text" else "text") in failure.reason
        assert set(ids(connector, everything(connector, call))) == {d.id for d in good}
        call(connector.delete())


@pytest.mark.parametrize("name", OPENSEARCH)
def test_server_that_stays_away(name: str) -> None:
    """After ``give_up_after`` seconds it is one line with the number stored."""
    port = free_port()
    with opensearch(name, f"http://127.0.0.1:{port}", "docs") as (connector, call):
        with pytest.raises(IngestError, match=f"{port} cannot be reached") as caught:
            call(connector.add([{"text": "one"}], give_up_after=1.0))
        assert one_line(caught.value)
        assert "0 documents are stored" in str(caught.value)
