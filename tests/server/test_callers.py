"""What one caller sends changes no answer to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import WORDS, Running, serving
from tests.server.searched import ALL, OWN, QUERY, filled
from vecdb_rerank.search.branch_watch import ENOUGH

CASCADE = {
    "type": "cascade",
    "first": {**WORDS, "name": "first"},
    "then": {**WORDS, "name": "then"},
}
KEYS = [{"key": ALL}, {"key": OWN}]
# Texts of which a reranker finds none better than another, as if its scale were wrong.
STEERING = {"query": "nothing", "documents": ["one", "two", "three"]}
# Words that BM25 ignores and the reranker counts, and one that leads BM25 to another document.
MISLEADING = "which that a have. branch"
PAIR = {"query": "undo a commit", "documents": ["undo it", "one banana"]}


def post(running: Running, path: str, body: object, key: str) -> Any:
    headers = {"authorization": f"Bearer {key}"}
    answer = running.client.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("reranker", [WORDS, CASCADE], ids=["one", "cascade"])
def test_texts_do_not_change_the_scale_for_others(reranker: Mapping[str, object]) -> None:
    name = "cascade:first>then" if reranker is CASCADE else "words"
    policy = {"calibration": {name: {"slope": 2.0, "intercept": 1.0}}}
    with serving({"keys": KEYS}, reranker=reranker, policy=policy) as running:
        before = post(running, "/v1/rerank", PAIR, OWN)
        for path in ("/v1/rerank", "/score"):
            for _ in range(4):
                steering = {"text_1": STEERING["query"], "text_2": STEERING["documents"]}
                post(running, path, STEERING if path == "/v1/rerank" else steering, ALL)
            after = post(running, "/v1/rerank", PAIR, OWN)
            assert after["results"] == before["results"]
            assert after["meta"] == before["meta"]


def test_searches_put_no_notes_into_the_results_of_others(tmp_path: Path) -> None:
    settings, _ = filled({"type": "qdrant", "path": str(tmp_path), "collection": "notes"}, WORDS)
    policy = {"calibration": {"words": {"slope": 1.0}}}
    with serving(**settings, policy=policy) as running:
        before = post(running, "/v1/search?outcome=1", {"query": QUERY}, OWN)["outcome"]["notes"]
        for _ in range(ENOUGH):
            post(running, "/v1/search", {"query": MISLEADING}, ALL)
        after = post(running, "/v1/search?outcome=1", {"query": QUERY}, OWN)["outcome"]["notes"]
    assert after == before
