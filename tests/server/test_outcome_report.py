"""What callers see of an outcome."""

from __future__ import annotations

import json

from vecdb_rerank.errors import RerankTimeoutError
from vecdb_rerank.model import BranchWeight
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.server.requests.outcome_report import as_json, headers

SECRET = "http://10.0.0.7/rerank answered 'my text'"
STAGES = ("embed", "first_pass", "rerank", "payload", "total")


def test_headers_hold_configured_names_and_numbers_alone() -> None:
    outcome = Outcome(
        "fell_back", reason=SECRET, reranker="main", timings=dict.fromkeys(STAGES, 12.345)
    )
    found = headers(outcome, ["main"])
    assert found["x-vecdb-rerank-outcome"] == "fell_back"
    assert found["x-vecdb-rerank-reranker"] == "main"
    assert found["server-timing"].startswith("embed;dur=12.3, first_pass;dur=12.3")
    assert SECRET not in str(found)
    assert headers(outcome, ["second"])["x-vecdb-rerank-reranker"] == "other"


def test_headers_are_short_and_of_visible_characters() -> None:
    name = "Modell\r\nx: y" + "ä" * 2_000
    found = headers(Outcome("reranked", reranker=name, timings=dict.fromkeys(STAGES, 1e7)), [name])
    assert sum(len(key) + len(value) + 4 for key, value in found.items()) < 1024
    assert all(value.isascii() and value.isprintable() for value in found.values())


def test_the_whole_outcome_is_json_without_sentences_of_errors() -> None:
    outcome = Outcome(
        "fell_back",
        reason=SECRET,
        error=RerankTimeoutError(SECRET),
        failed={"main": SECRET},
        notes={"partial_first_pass": SECRET},
        relevance={1: 0.5},
        first_pass_score={1: 2.0, "1": 1.0},
        passages={1: (0, 9)},
        branch_weights={"bm25": BranchWeight(0.5, "equal")},
    )
    text = json.dumps(as_json(outcome))
    assert SECRET not in text
    found = json.loads(text)
    assert (found["reason"], found["failed"]) == ("RerankTimeoutError", ["main"])
    assert found["notes"] == ["partial_first_pass"]
    first, second = found["candidates"]
    assert (first["id"], first["relevance"], first["passage"]) == (1, 0.5, [0, 9])
    assert (second["id"], second["relevance"]) == ("1", None)


def test_a_reason_is_left_out_beside_failed_rerankers() -> None:
    partial = Outcome("partial", reason=f"1 of 2 ({SECRET})", failed={"main": SECRET})
    assert as_json(partial)["reason"] is None
    assert as_json(Outcome("skipped", reason="one hit"))["reason"] == "one hit"
