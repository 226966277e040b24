"""The queue, and a service that is replaced while requests run."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.server.running import WORDS, Running, serving
from tests.server.searched import ALL, QUERY, TENANT_B, filled
from tests.server.words import SLOW
from vecdb_rerank.config.loading import check
from vecdb_rerank.server.service import Service

BODY = {"query": "q", "documents": ["d"]}


def slow(pool: ThreadPoolExecutor, running: Running) -> Future[httpx.Response]:
    return pool.submit(running.client.post, "/v1/rerank", json={**BODY, "query": SLOW})


def test_a_full_queue_is_answered_at_once() -> None:
    with ThreadPoolExecutor() as pool, serving({"running": 1, "queue": 1}) as running:
        first = slow(pool, running)
        assert running.words.started.acquire(timeout=5)
        late = running.client.post(
            "/v1/rerank", json=BODY, headers={"x-request-timeout-ms": "50"}
        )  # waits in the queue until its deadline
        assert late.status_code == 503
        second = slow(pool, running)
        while not running.live.current.gate.waiting:
            pass
        full = running.client.post("/rerank", json={"query": "q", "texts": ["d"]})
        assert full.status_code == 429
        assert full.headers["retry-after"] == "1"
        assert full.json()["error_type"] == "Overloaded"
        assert running.client.get("/health").status_code == 200
        running.words.go.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)


def test_requests_keep_the_service_that_they_began_with() -> None:
    with ThreadPoolExecutor() as pool, serving() as running:
        old = running.words
        first = slow(pool, running)
        assert old.started.acquire(timeout=5)
        before = running.live.current
        same = Service(check(reranker=WORDS, search={"k": 7}), before)
        assert same.models.chains == before.models.chains  # with their circuits and weights
        other = Service(check(reranker={**WORDS, "name": "new"}), before)
        running.replace(other)
        answer = running.client.post("/v1/rerank", json=BODY)
        assert answer.headers["x-vecdb-rerank-reranker"] == "new"
        old.go.set()
        assert first.result().headers["x-vecdb-rerank-reranker"] == "words"


def test_a_service_with_the_same_database_keeps_its_connections(tmp_path: Path) -> None:
    settings, _ = filled({"type": "qdrant", "path": str(tmp_path), "collection": "notes"}, WORDS)
    headers = {"authorization": f"Bearer {ALL}"}
    with serving(**settings) as running:
        before = running.live.current
        keys = [{"key": ALL, "filter": TENANT_B["qdrant"]}]
        running.replace(Service(check(**{**settings, "serve": {"keys": keys}}), before))
        for _ in range(2):
            answer = running.client.post("/v1/search", json={"query": QUERY}, headers=headers)
            assert len(answer.json()["result"]["points"]) == 2
        assert running.live.current.connectors is before.connectors
        other = Service(check(**{**settings, "search": {"k": 7}}), running.live.current)
        assert other.connectors is not before.connectors
