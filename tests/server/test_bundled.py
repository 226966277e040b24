"""The bundled cross-encoder behind the routes: its scores, and what it reads of long texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.running import Running, serving
from vecdb_rerank import Deadline, OnnxReranker

QUERY = "how do I take back my last commit"
TEXTS = [
    "git reset --soft HEAD~1 takes back the last commit and keeps the changes.",
    "Bananas are rich in potassium.",
]
LONG = "Bananas are rich in potassium. " * 200


@pytest.fixture(scope="module")
def bundled() -> Iterator[Running]:
    with serving(reranker={"type": "onnx"}) as running:
        yield running


def test_tei_s_answer_has_logits_or_calibrated_scores(bundled: Running) -> None:
    model = OnnxReranker()
    logits = model.score(QUERY, TEXTS, deadline=Deadline())
    assert model.calibration is not None
    body = {"query": QUERY, "texts": TEXTS}
    raw = bundled.client.post("/rerank", json={**body, "raw_scores": True}).json()
    assert [one["score"] for one in raw] == pytest.approx(logits.raw)
    whole = bundled.client.post("/rerank", json={**body, "return_text": True}).json()
    calibrated = model.calibration.scores(logits).relevance
    assert [one["score"] for one in whole] == pytest.approx(calibrated)
    assert [one["text"] for one in whole] == TEXTS


def test_a_long_text_is_cut_unless_the_caller_refuses(bundled: Running) -> None:
    body = {"query": QUERY, "texts": [LONG + TEXTS[0]]}
    cut = bundled.client.post("/rerank", json=body)
    left = bundled.client.post("/rerank", json={**body, "truncation_direction": "left"})
    assert left.json()[0]["score"] > 2 * cut.json()[0]["score"]
    refused = bundled.client.post("/rerank", json={**body, "truncate": False})
    assert refused.status_code == 422
    assert refused.json()["error_type"] == "Validation"


def test_pairs_are_scored_in_their_order(bundled: Running) -> None:
    answer = bundled.client.post("/score", json={"text_1": QUERY, "text_2": TEXTS})
    assert answer.headers["x-vecdb-rerank-outcome"] == "reranked"
    old = answer.json()
    new = {"queries": [QUERY, "potassium"], "documents": TEXTS, "use_activation": False}
    pairs = bundled.client.post("/v1/score", json=new).json()
    assert old["object"] == "list"
    assert [one["object"] for one in old["data"]] == ["score", "score"]
    assert old["data"][0]["score"] > 0.5 > old["data"][1]["score"]
    assert old["usage"]["total_tokens"] > 0
    assert all(one["score"] > 0 for one in pairs["data"])  # logits
    wrong = bundled.client.post("/score", json={**new, "queries": ["a"] * 3})
    assert wrong.status_code == 422
    assert bundled.client.post("/score", json={"text_1": "a"}).status_code == 422
